"""What the Research tab says, in English and Chinese."""

from __future__ import annotations

TEXTS = {
    "tab_research": ("Research", "研究管理"),
    "res_open": ("This studio was started without `--auth`: everyone who can open this page can use all tabs, including this one. "
                 "Start it with "
                 "`--auth FILE` to admit only people with an account or an invitation.",
                 "本平台启动时没有使用 `--auth`：能打开此页面的人可以使用所有标签页，包括本页。"
                 "用 `--auth FILE` 启动，则只允许有账号或邀请的人进入。"),
    "res_study": ("Study", "研究"), "res_refresh": ("Refresh", "刷新"),
    "res_start": ("Start", "开始"), "res_pause": ("Pause", "暂停"), "res_close": ("Close…", "结束…"),
    "res_close_sure": ("A closed study accepts no more answers and cannot be reopened.", "结束后的研究不再接收答案，也不能重新打开。"),
    "res_close_yes": ("Close it for good", "确定结束"), "res_cancel": ("Cancel", "取消"),
    "res_none": ("There are no studies yet: create one under New study.", "还没有研究：请在“新建研究”中创建。"),
    "res_choose": ("Choose a study first.", "请先选择一个研究。"),
    # the study in numbers
    "res_state": ("State", "状态"), "res_draft": ("draft", "草稿"),
    "res_running": ("running", "进行中"), "res_paused": ("paused", "已暂停"),
    "res_closed": ("closed", "已结束"), "res_pairs": ("Pairs complete", "已完成的图片组"),
    "res_of": ("{part} of {whole}", "{part} / {whole}"),
    "res_screens": ("Screens scored", "已评屏数"), "res_skipped": ("Skipped", "跳过"), "res_held": ("In progress", "正在评"),
    "res_people_count": ("Annotators", "标注者"), "res_left_out_count": ("{count} ({out} excluded)", "{count}（排除 {out}）"),
    "res_per_pair": ("Annotators per pair", "每组标注者数"), "res_order": ("Order", "顺序"), "res_digest": ("Digest", "摘要"),
    "res_not_started": ("not started", "未开始"), "res_coverage": ("Share of screens answered", "已答屏数比例"),
    "res_link": ("Annotators go to", "标注者的链接："),
    "res_order_draft": ("drawn when the study starts", "开始时抽取"), "res_order_seed": ("public seed {seed}", "公开种子 {seed}"),
    "res_order_secret": ("secret until it closes", "结束前保密"), "res_order_told": ("included in exports", "见导出文件"),
    "res_order_unknown": ("unknown", "未知"),
    "res_order_old": ("This study began before orders were secret: annotators could predict the sides. `study revise` makes a new version "
                      "with a secret order.",
                      "本研究开始时顺序尚未保密：标注者可能预知左右位置。`study revise` 可创建顺序保密的新版本。"),
    "res_is_simulated": ("Simulated: people did not and cannot take part.", "模拟研究：没有真人参加，也无法参加。"),
    "res_simulated_word": ("simulated", "模拟"),
    "res_no_link": ("Annotators can join once the study is running.", "研究开始后标注者才能进入。"),
    "res_by_invitation": ("and need an account or a link from Invitations.", "，并需要账号或“邀请”中的链接。"),
    # tabs inside
    "res_tab_people": ("Annotators", "标注者"), "res_tab_methods": ("Methods", "方法"), "res_tab_agreement": ("Agreement", "一致性"),
    "res_tab_results": ("Results", "结果"), "res_tab_new": ("New study", "新建研究"), "res_tab_design": ("Try a design", "试算设计"),
    "res_tab_invite": ("Invitations", "邀请"),
    # annotators
    "res_annotator": ("Annotator", "标注者"), "res_excluded": ("Excluded", "已排除"), "res_p_screens": ("Screens", "屏数"),
    "res_p_skipped": ("Skipped", "跳过"), "res_p_seconds": ("Seconds per screen", "每屏秒数"),
    "res_spread": ("Spread", "离散度"),
    "res_straight": ("All six equal", "六分全同"), "res_repeat": ("Repeat error", "重复误差"), "res_checks": ("Checks failed", "未过检查"),
    "res_people_about": ("Seconds count only while the page is in view. Spread: standard deviation of all scores. All six equal: share of "
                         "pairs with six equal scores. Repeat error: mean difference when a hidden repeat is scored again. Checks failed: "
                         "two equal pictures scored apart, or the original scored as not preserved.",
                         "秒数只计页面可见的时间。离散度：所有分数的标准差。六分全同：六个分数都相同的图片组比例。重复误差：隐藏重复题两次评分的平均差。"
                         "未过检查：两张相同图片给分不同，或原图未被评为保持。"),
    "res_nobody": ("No annotator has joined yet.", "还没有人参加。"),
    "res_reason": ("Reason for exclusion", "排除的理由"), "res_exclude": ("Exclude from the analysis", "从分析中排除"),
    "res_include": ("Include again", "重新纳入"),
    "res_recollect": ("Collect their pairs again", "重新收集其图片组"), "res_continue": ("Let the visit continue", "允许继续"),
    "res_recollect_said": ("{count} pairs of {who} are offered to other people; nothing was deleted.",
                           "{who} 的 {count} 组图片已提供给其他人；数据没有删除。"),
    "res_continue_said": ("{who} may continue; the rules apply to new answers.", "{who} 可以继续；此后的作答仍按规则判断。"),
    "res_exclude_said": ("{who} is excluded from the analysis; nothing was deleted.", "{who} 已从分析中排除；数据没有删除。"),
    "res_include_said": ("{who} is in the analysis again: {counted} scored pairs fill their places, {surplus} are surplus because others "
                         "have scored them since.", "{who} 已重新纳入分析：{counted} 组计入所需数量，{surplus} 组因其他人已评而超出。"),
    "res_set_aside": ("Pairs set aside", "搁置的图片组"), "res_stopped_count": ("Stopped by a rule", "被规则终止"),
    "res_by_excluded": ("Scored by excluded", "由被排除者评分"), "res_surplus": ("Surplus screens", "超出的屏数"),
    "res_before_rules": ("This study began before studies had participation rules and continues as its annotators were told: no rule "
                         "ends a visit, and everyone who has finished all screens has a code. Skipped pairs are offered again.",
                         "本研究开始时还没有参与规则，并按当时告知标注者的方式继续：没有规则会终止访问，做完所有屏的人都有代码。被跳过的图片组会重新提供。"),
    "res_skipped_about": ("Pairs that annotators skipped. Each is offered to other people until it has its scores; one that too many "
                          "skip is "
                          "set aside and no longer offered.",
                          "标注者跳过的图片组。每组会提供给其他人，直到得到所需的评分；被太多人跳过的组会被搁置，不再提供。"),
    "res_skipped_more": ("`study status` lists {count} more.", "另有 {count} 组见 `study status`。"),
    "res_item": ("Item", "图片组"), "res_why": ("Reasons", "原因"), "res_scored": ("Scored", "已评"), "res_aside": ("Set aside", "已搁置"),
    "res_yes": ("yes", "是"), "res_skip_broken": ("picture broken", "图片损坏"), "res_skip_unclear": ("instruction unclear", "指令不清"),
    "res_skip_unsafe": ("unsafe", "不安全"), "res_skip_other": ("other", "其他"),
    # participants and pay
    "res_tab_pay": ("Participants and pay", "参与者与付款"), "res_code_head": ("Completion code", "完成代码"),
    "res_id": ("Recruiting id", "招募编号"),
    "res_id_lost": ("encrypted with a lost key", "加密密钥已丢失"), "res_given": ("Given", "已分配"),
    "res_median": ("Median seconds", "秒数中位数"),
    "res_joined": ("Joined (UTC)", "加入（UTC）"), "res_last": ("Last answer (UTC)", "最近作答（UTC）"),
    "res_is_joined": ("joined", "已加入"), "res_is_working": ("working", "进行中"), "res_is_completed": ("completed", "已完成"),
    "res_is_stopped": ("stopped", "被终止"), "res_is_excluded": ("excluded", "已排除"), "res_is_withdrawn": ("withdrawn", "已退出"),
    "res_rule_skips": ("skipped {skipped} of {screens} screens", "{screens} 屏中跳过 {skipped} 屏"),
    "res_rule_checks": ("{failed} attention checks failed", "{failed} 次注意力检查未通过"),
    "res_rule_pace": ("median of {seconds} s a screen", "每屏中位数 {seconds} 秒"),
    "res_people_file": ("All participants, CSV", "全部参与者，CSV"),
    "res_pay_about": ("Payments go to those who earned the completion code and were neither excluded nor stopped. Amounts are in the "
                      "recruiting service's currency. Check a file before you upload it.",
                      "付款给已获得完成代码、且未被排除或终止的人。金额以招募平台的货币计。上传前请先查看文件。"),
    "res_pay_amount": ("Amount per person", "每人金额"), "res_pay_screen": ("Amount per scored screen", "每个已评屏的金额"),
    "res_pay_reject": ("Reject excluded annotators with the reason", "拒绝被排除的标注者并附理由"),
    "res_pay_csv": ("All, CSV", "所有人，CSV"), "res_pay_prolific": ("Prolific: id,amount", "Prolific：编号,金额"),
    "res_pay_mturk": ("MTurk: Approve and Reject", "MTurk：Approve 和 Reject"), "res_pay_cloudresearch": ("CloudResearch", "CloudResearch"),
    "res_forget": ("Delete all recruiting ids", "删除所有招募编号"),
    "res_forget_said": ("The recruiting ids of {count} annotators were deleted.", "已删除 {count} 名标注者的招募编号。"),
    "res_state_said": ("{name} is {state}.", "{name}：{state}。"),
    # methods
    "res_method": ("Method", "方法"), "res_n": ("Scores each", "每项分数数"), "res_mean_sd": ("mean ± standard deviation", "均值 ± 标准差"),
    "res_methods_about": ("Means over items, as in Table 3, ± standard deviation between items; without excluded annotators, here "
                          "and below.",
                          "各条目均分的平均（与表 3 相同）± 条目间标准差；此处及以下均不含被排除的标注者。"),
    "res_sides": ("Position: Edited Image 1 minus Edited Image 2, whatever the methods. 0 means that the side has no effect.",
                  "位置：编辑图 1 减去编辑图 2，不论方法。0 表示左右位置没有影响。"),
    "res_perspective": ("Perspective", "维度"), "res_difference": ("Difference", "差值"), "res_interval": ("95 % interval", "95 % 区间"),
    "res_screens_n": ("Pairs", "组数"), "res_no_scores": ("No scores yet.", "还没有分数。"),
    # agreement
    "res_agreement_about": ("Krippendorff's alpha (ordinal), mean pairwise kappa (quadratic weights) and intraclass correlation, each with "
                            "its 95 % interval from resampling whole photos, without excluded annotators.",
                            "Krippendorff α（序数）、两两 κ 的均值（二次权重）和组内相关系数（ICC），"
                            "均附按照片重采样得到的 95 % 区间。不含被排除的标注者。"),
    "res_agreement_go": ("Compute agreement now", "立即计算一致性"), "res_alpha": ("Krippendorff's alpha", "Krippendorff α"),
    "res_kappa": ("Weighted kappa", "加权 κ"), "res_icc": ("ICC(2,1)", "ICC(2,1)"),
    # judge
    "res_tab_judge": ("Judge", "评判模型"),
    "res_judge_about": ("A judge learns from this study's ratings: tiny-judge is trained on with them, for minutes, on this server. A "
                        "fifth of the originals is held out and reported. It needs ratings by two or more annotators. The result, "
                        "`judges/…` in the data folder, is what `--judge` and `python -m mre score` take.",
                        "用本研究的评分训练评判模型：在本服务器上以 tiny-judge 为起点继续训练几分钟。五分之一的原图留出用于报告。"
                        "需要至少两名标注者的评分。结果是数据文件夹中的 `judges/…`，可用于 `--judge` 和 `python -m mre score`。"),
    "res_judge_train": ("Train a judge from this study", "用本研究训练评判模型"), "res_judge_cancel": ("Cancel", "取消"),
    "res_stage_training": ("{name}: training a judge … {share}", "{name}：正在训练评判模型…… {share}"),
    "res_stage_reporting": ("{name}: calibrating and reporting …", "{name}：正在校准并生成报告……"),
    "res_judge_made": ("The judge {name} is trained; it is in the list below.", "评判模型 {name} 已训练完成，见下方列表。"),
    "res_judge_stopped": ("The training was cancelled; nothing was kept.", "训练已取消，没有保留任何结果。"),
    "res_judge_busy": ("A judge is being trained already; wait for it or cancel it.", "已有一个评判模型正在训练；请等待或取消。"),
    "res_judge_choice": ("Judge", "评判模型"), "res_judge_compare": ("Compare with people now", "立即与人的评分比较"),
    "res_judge_against": ("{judge} beside people on {screens} rated screens (at most the latest 500).",
                          "{judge} 与人的评分对照，共 {screens} 个已评屏（最多取最近 500 个）。"),
    "res_judge_held": ("It was trained on this study: only originals that it never saw are counted.",
                       "它用本研究训练过：只计它从未见过的原图。"),
    "res_judge_n": ("Scores", "分数数"), "res_judge_error": ("Mean error", "平均误差"), "res_judge_rank": ("Rank correlation", "秩相关"),
    "res_judge_within": ("Within one deviation", "一个标准差内"), "res_judge_pairs": ("Pairs", "图片对"),
    "res_judge_order": ("Right order", "顺序正确"), "res_judge_ties": ("Right with ties", "含平局正确"),
    "res_judge_legend": ("Mean error: points between its score and each annotator's. Within one deviation: 68 % is right. Right order: "
                         "of pairs that an annotator did not score equally. Right with ties: of all pairs, those whose win, tie or "
                         "loss it thought likeliest. The table follows new ratings while this page is open.",
                         "平均误差：其分数与每位标注者分数之差（分）。一个标准差内：68 % 为正确。顺序正确：只计标注者给分不同的图片对。"
                         "含平局正确：所有图片对中，胜、平、负里最可能的一个。页面打开时，表格随新的评分更新。"),
    # results
    "res_csv_long": ("CSV, one row per score", "CSV，每行一个分数"), "res_csv_wide": ("CSV, one row per shown image", "CSV，每行一张图"),
    "res_csv_bom": ("CSV for spreadsheets (byte-order mark)", "供电子表格使用的 CSV（带 BOM）"),
    "res_jsonl": ("JSON lines", "JSON Lines"),
    "res_csv_without": ("CSV without excluded annotators", "不含被排除标注者的 CSV"), "res_table_form": ("Table 3, {form}", "表 3，{form}"),
    "res_scores_files": ("All scores", "所有分数"), "res_table_files": ("The paper's Table 3", "论文的表 3"),
    "res_table_go": ("Show Table 3 of this study", "显示本研究的表 3"),
    # new study
    "res_new_about": ("From a folder of edits (`OUT/METHOD/ITEM.png` with `edits.csv`) as `python -m mre bench` writes it: one in the "
                      "studio's data folder, or a ZIP of it. From anywhere else: `python -m mre study create`.",
                      "来自编辑结果的文件夹（`OUT/METHOD/ITEM.png` 和 `edits.csv`，"
                      "由 `python -m mre bench` 生成）："
                      "选择数据文件夹中的一个，或上传其 ZIP。其他位置请用 `python -m mre study create`。"),
    "res_name": ("Name (annotators never see it)", "名称（标注者看不到）"), "res_title": ("Title that annotators see", "标注者看到的标题"),
    "res_folder": ("Folders of edits in the data folder", "数据文件夹中的编辑结果"),
    "res_zip": ("or a ZIP of the folder", "或文件夹的 ZIP"),
    "res_methods": ("Methods, separated by commas (empty: all)", "方法，用逗号分隔（空：全部）"),
    "res_repeats": ("Hidden repeats, %", "隐藏重复题，%"),
    "res_check_share": ("Attention checks, %", "注意力检查，%"),
    "res_limit": ("Pairs per annotator (0: no limit)", "每人最多组数（0：不限）"),
    "res_fit": ("Resize edits to their original's size", "将编辑图缩放到原图大小"),
    "res_serving": ("Pairs shown first", "优先显示的图片组"), "res_serving_random": ("drawn", "随机"),
    "res_serving_informative": ("those that teach tiny-judge most", "对 tiny-judge 最有用的"),
    "res_serving_mixed": ("those, to half of the annotators", "一半标注者按最有用，一半随机"),
    "res_more": ("More settings", "更多设置"), "res_min_seconds": ("Minimum seconds per screen", "每屏最少秒数"),
    "res_lease": ("Minutes until an unanswered screen is offered to someone else", "未答的屏幕多少分钟后转给他人"),
    "res_code": ("One completion code for all (empty: one each)", "统一的完成代码（空：每人各自一个）"),
    "res_phone": ("Phones may be used", "允许使用手机"),
    "res_flip": ("Allow flipping between the pictures", "允许图片在原位互相切换"),
    "res_break": ("Screens until a break is suggested (0: never)", "多少屏后建议休息（0：从不）"),
    "res_rules": ("Participation rules, completion and pay", "参与规则、完成与付款"),
    "res_rules_about": ("Annotators are told these rules before they agree. A visit that a rule ends gets no code; you see why and can let "
                        "it continue.",
                        "标注者在同意参加之前会看到这些规则。被规则终止的访问没有代码；您会看到原因，并可以允许其继续。"),
    "res_max_skips": ("Maximum skips, % of screens (100: no rule)", "最多跳过，屏数的 %（100：不限）"),
    "res_max_checks": ("Failed checks that end a visit (0: no rule)", "终止访问的未过检查数（0：不限）"),
    "res_min_pace": ("Minimum median seconds per screen (0: no rule)", "每屏秒数中位数下限（0：不限）"),
    "res_rules_after": ("Screens before skips and pace are checked", "判断跳过与速度前的屏数"),
    "res_pair_skips": ("Skips that set a pair aside (0: never)", "使图片组被搁置的跳过数（0：从不）"),
    "res_share": ("Share to score for the code, %", "获得代码所需的评分比例，%"),
    "res_url": ("Address after completion (https; {code} becomes the code)", "完成后前往的网址（https；{code} 替换为代码）"),
    "res_keep_id": ("Keep the recruiting service's ids, encrypted, to pay", "加密保存招募平台编号以便付款"),
    "res_consent": ("Consent text instead of the default (plain text)", "替代默认的参加说明（纯文本）"),
    "res_instructions": ("Further instructions (plain text)", "补充说明（纯文本）"), "res_create": ("Create the draft", "创建草稿"),
    "res_import": ("Or import an exported CSV or JSONL as a closed study with the name above",
                   "或导入导出的 CSV 或 JSONL，成为使用上面名称的已结束研究"),
    "res_give_source": ("Choose a folder, or upload a ZIP.", "请选择文件夹或上传 ZIP。"),
    "res_no_folder": ("There is no folder of edits {name!r} in the data folder.", "数据文件夹中没有编辑结果 {name!r}。"),
    "res_created": ("{name} was created as a draft; check it, then start it.", "{name} 已创建为草稿；确认无误后再开始。"),
    "res_imported": ("{name} was imported.", "已导入 {name}。"),
    "res_stage_waiting": ("{name}: waiting for earlier jobs …", "{name}：等待之前的任务完成……"),
    "res_stage_starting": ("{name}: starting …", "{name}：正在开始……"),
    "res_stage_reading": ("{name}: reading the file … {share}", "{name}：正在读取文件…… {share}"),
    "res_stage_checking": ("{name}: checking the answers …", "{name}：正在检查回答……"),
    "res_stage_writing": ("{name}: writing … {share}", "{name}：正在写入…… {share}"),
    "res_stage_unpacking": ("{name}: unpacking …", "{name}：正在解压……"),
    "res_stage_pictures": ("{name}: reading pictures … {share}", "{name}：正在读取图片…… {share}"),
    "res_faults": ("Nothing was created. {count} errors:", "没有创建任何内容。共 {count} 处错误："),
    # trying a design
    "res_design_about": ("Simulated annotators score a copy of the study chosen above, which people cannot join: its figures and tables "
                         "before anyone is paid. The study itself does not change.",
                         "由程序模拟的标注者为上面所选研究的一个副本打分，任何人都不能参加该副本：付费之前先看到它的指标和表格。研究本身保持不变。"),
    "res_simulated_count": ("Simulated annotators", "模拟标注者数"), "res_simulate": ("Simulate", "模拟"),
    "res_simulated": ("Simulated annotators have scored {name}, a copy.", "副本 {name} 已由模拟标注者评分。"),
    "res_power_about": ("How many items and annotators are needed to find a gap between two methods? Power of the paired t-test over "
                        "items, two-sided at 5 %; 80 % is usual.",
                        "需要多少组图片和标注者才能发现两种方法的差距？按图片组的配对 t 检验的检验力，双侧 5 %；通常要求 80 %。"),
    "res_gap": ("Gap to detect", "要发现的差距"), "res_between": ("Spread of the true difference over items", "真实差值在各组间的离散度"),
    "res_within": ("Spread of one annotator's difference", "单个标注者差值的离散度"),
    "res_power_needed": ("Items for 80 %", "达到 80 % 的组数"), "res_power_items": ("{items} items", "{items} 组"),
    # invitations
    "res_invite_about": ("Each personal link is one annotator, wherever it is opened. A shared link makes a new annotator of everyone "
                         "who opens it; recruiting services can add their own ids to it (`&PROLIFIC_PID=...`).",
                         "每个个人链接对应一名标注者，无论在哪里打开。公共链接会让每个打开它的人成为新的标注者；"
                         "招募平台可以附上自己的编号（`&PROLIFIC_PID=...`）。"),
    "res_plain_link": ("Without `--auth` the plain link above works too.", "没有使用 `--auth` 时，上面的普通链接同样有效。"),
    "res_links_count": ("Personal links", "个人链接数"), "res_make_links": ("Make links", "生成链接"), "res_links": ("Links", "链接"),
    "res_for_many": ("Shared link:", "公共链接："),
}
