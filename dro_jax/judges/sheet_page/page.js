
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const sheet = JSON.parse(byId("sheet").textContent);
  const { pairs } = sheet;
  const ids = new Set(pairs.map((pair) => pair.id));
  const storageKey = `dro-jax judge ${sheet.id}`;
  const kind = "dro-jax judge answers";
  const answers = new Map();
  let place = 0;

  // Storage may be forbidden, as in private windows: the file is then all there is.
  function keep() {
    try {
      localStorage.setItem(storageKey, JSON.stringify(content()));
    } catch {}
  }

  function kept() {
    try {
      return JSON.parse(localStorage.getItem(storageKey));
    } catch {
      return null;
    }
  }

  function content() {
    return {
      kind,
      version: 1,
      sheet: sheet.id,
      rater: byId("rater").value.trim(),
      answers: Object.fromEntries(answers),
    };
  }

  // Takes what was saved; false where it is of another sheet or none.
  function take(saved) {
    if (!saved || saved.kind !== kind || saved.sheet !== sheet.id) return false;
    for (const [id, answer] of Object.entries(saved.answers ?? {})) {
      if (ids.has(id) && [0, 1, 2].includes(answer)) answers.set(id, answer);
    }
    if (typeof saved.rater === "string" && saved.rater) byId("rater").value = saved.rater;
    return true;
  }

  function firstOpen(from) {
    for (let step = 0; step < pairs.length; step += 1) {
      const at = (from + step) % pairs.length;
      if (!answers.has(pairs[at].id)) return at;
    }
    return -1;
  }

  function show(message) {
    const pair = pairs[place];
    byId("prompt").textContent = pair.prompt;
    byId("first").textContent = pair.first;
    byId("second").textContent = pair.second;
    for (const button of document.querySelectorAll("[data-answer]")) {
      const chosen = answers.get(pair.id) === Number(button.dataset.answer);
      button.setAttribute("aria-pressed", String(chosen));
    }
    byId("before").disabled = place === 0;
    byId("progress").max = pairs.length;
    byId("progress").value = answers.size;
    const counted = `Pair ${place + 1} of ${pairs.length}; ${answers.size} answered.`;
    const done = " All are answered: save the file and send it back.";
    byId("status").textContent =
      (message ? `${message} ` : "") + counted + (answers.size === pairs.length ? done : "");
  }

  function go(to, message) {
    place = to;
    show(message);
    // Where reading begins, on the screen and aloud.
    byId("prompt-title").focus();
  }

  function answer(value) {
    answers.set(pairs[place].id, value);
    keep();
    const open = firstOpen(place + 1);
    if (open >= 0) {
      go(open);
    } else {
      show();
      byId("save").focus();
    }
  }

  function before() {
    if (place > 0) go(place - 1);
  }

  function next() {
    const open = firstOpen(place + 1);
    if (open >= 0) go(open);
    else go((place + 1) % pairs.length);
  }

  function save() {
    const rater = content().rater.replace(/[^\w-]+/g, "_") || "answers";
    const text = `${JSON.stringify(content(), null, 2)}\n`;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `${rater}_${sheet.id}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    show("Saved.");
  }

  async function load(event) {
    const [file] = event.target.files;
    if (!file) return;
    let saved = null;
    try {
      saved = JSON.parse(await file.text());
    } catch {}
    if (!take(saved)) {
      show("That file holds no answers to this sheet.");
      return;
    }
    keep();
    go(Math.max(0, firstOpen(0)), "Loaded.");
  }

  const keys = {
    1: () => answer(1), ArrowLeft: () => answer(1),
    2: () => answer(2), ArrowRight: () => answer(2),
    0: () => answer(0), p: before, n: next,
  };
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input");
    if (typing || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    if (act) {
      event.preventDefault();
      act();
    }
  });
  for (const button of document.querySelectorAll("[data-answer]")) {
    button.addEventListener("click", () => answer(Number(button.dataset.answer)));
  }
  byId("before").addEventListener("click", before);
  byId("next").addEventListener("click", next);
  byId("save").addEventListener("click", save);
  byId("load").addEventListener("change", load);
  byId("rater").addEventListener("change", keep);

  take(kept());
  place = Math.max(0, firstOpen(0));
  show();
})();
