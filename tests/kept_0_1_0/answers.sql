BEGIN TRANSACTION;
CREATE TABLE answers (
    key TEXT PRIMARY KEY, judge TEXT NOT NULL, model TEXT NOT NULL, task TEXT NOT NULL, perspective TEXT NOT NULL,
    raw TEXT NOT NULL, build TEXT NOT NULL, error TEXT, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cost_usd REAL, seconds REAL NOT NULL, answered_at TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "answers" VALUES('111a5f96375c1363ba3d1f88767291a982c5b600eb5f93e3422611574bc9e379','gpt-4o@fence','gpt-4o','reward','quality','{''score'': 2, ''bad'': ''Something is off.''}','gpt-4o-2024-08-06',NULL,1000,20,NULL,1.47994806997303385287e-01,'2026-11-28T21:02:48Z');
INSERT INTO "answers" VALUES('4ab56f2e5ed41d702a0ddcf22dcc69afcdc7a7aeea4de4b3e2c4fd662ed7993c','gpt-4o@fence','gpt-4o','evaluate','preserving','{''consistent'': ''yes'', ''score'': 4.0}','gpt-4o-2024-08-06',NULL,1000,20,NULL,9.36576099993544630706e-02,'2026-11-28T21:02:54Z');
INSERT INTO "answers" VALUES('a2d352f8f639e7b319ad630aea6e03bedfce702ae271b59186b16e068a52b960','gpt-4o@fence','gpt-4o','evaluate','quality','{''clear'': ''no'', ''score'': 3.0}','gpt-4o-2024-08-06',NULL,1000,20,NULL,1.05791833000694168731e-01,'2026-11-28T21:02:54Z');
INSERT INTO "answers" VALUES('d5828b425cec4cf394423290ee2844a288c49bc2cbb8f881812506f29f826382','gpt-4o@fence','gpt-4o','reward','following','{''score'': 1, ''bad'': ''Something is off.''}','gpt-4o-2024-08-06',NULL,1000,20,NULL,1.34302180002123350277e-01,'2026-11-28T21:02:48Z');
INSERT INTO "answers" VALUES('d6ebbae8707b9f4f9500e207da9a0c42367e374da5a9f3b04c5c5778d9571038','gpt-4o@fence','gpt-4o','evaluate','following','{''following'': ''no'', ''score'': 2.0}','gpt-4o-2024-08-06',NULL,1000,20,NULL,1.17792228000325849279e-01,'2026-11-28T21:02:54Z');
INSERT INTO "answers" VALUES('fddd0b34d58f8d3600f6b2832b306b136219e0da0c3e714e0ce46dadf24100a1','gpt-4o@fence','gpt-4o','reward','preserving','{''score'': 3, ''bad'': ''Something is off.''}','gpt-4o-2024-08-06',NULL,1000,20,NULL,1.531661190019804053e-01,'2026-11-28T21:02:48Z');
CREATE TABLE batches (
    digest TEXT PRIMARY KEY, batch_id TEXT, keys INTEGER NOT NULL, state TEXT NOT NULL, sent_at TEXT NOT NULL) WITHOUT ROWID;
COMMIT;
PRAGMA application_id = 1297237322;
PRAGMA user_version = 1;
