// What the page knows, shared by its parts.

const parameters = new URLSearchParams(location.search);
const chosen = document.cookie.match(/(?:^|; )mre_language=(en|zh)(?:;|$)/)?.[1];       // by the switch of the studio's page
try { if (parent !== window && parent.mrePreferences) document.documentElement.dataset.studio = ""; } catch { /* a frame of another site */ }
const RECRUITING_IDS = ["PROLIFIC_PID", "SESSION_ID", "STUDY_ID", "workerId", "assignmentId", "hitId", "participantId", "projectId", "participant"];

export const state = {
  studyId: (location.pathname.match(/^\/study\/s\/([^/]+)/) || [])[1] || null,
  language: ["zh", "en"].find((known) => (parameters.get("lang") || chosen || navigator.language || "").toLowerCase().startsWith(known)) || "en",
  arrival: {                   // what the link says of the visitor
    ids: Object.fromEntries([...parameters].filter(([name]) => RECRUITING_IDS.includes(name))),
    invitation: parameters.get("invitation") },
  study: null,                 // what the server tells about the study
  me: null,
  work: null,                  // last answer of the server: current and upcoming screen, progress
  shown: null,                 // the screen on display: {data, earlier, key, skipReason, active, since, started}
  place: 1,                    // the picture on display where there is one at a time; 0: the original
  busy: false,
  sitting: 0,                  // screens scored since the page was opened or a break was taken
};
