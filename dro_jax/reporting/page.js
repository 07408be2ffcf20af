"use strict";
// Search, filter and order of the samples; without it the page is complete, and a list.
(() => {
  const controls = document.getElementById("controls");
  const list = document.getElementById("sample-list");
  if (controls && list) {
    const search = document.getElementById("search");
    const filter = document.getElementById("filter");
    const order = document.getElementById("order");
    const count = document.getElementById("count");
    const nothing = document.getElementById("nothing");
    const samples = Array.from(list.querySelectorAll(".sample"), (node, place) => ({
      node,
      place,
      spread: Number(node.dataset.spread),
      text: Array.from(node.querySelectorAll(".text"), (x) => x.textContent)
        .join("\n")
        .toLowerCase(),
    }));

    const mark = (words) => {
      if (!window.CSS || !CSS.highlights || !window.Highlight) return;
      const ranges = [];
      if (words.length) {
        for (const { node } of samples) {
          if (node.hidden) continue;
          for (const block of node.querySelectorAll(".text")) {
            const text = block.firstChild;
            if (!text || text.nodeType !== Node.TEXT_NODE) continue;
            const lower = text.data.toLowerCase();
            if (lower.length !== text.data.length) continue;
            for (const word of words) {
              for (let at = lower.indexOf(word); at >= 0; ) {
                const range = new Range();
                range.setStart(text, at);
                range.setEnd(text, at + word.length);
                ranges.push(range);
                at = lower.indexOf(word, at + word.length);
              }
            }
          }
        }
      }
      CSS.highlights.set("found", new Highlight(...ranges));
    };

    const update = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { node, text } of samples) {
        const wanted = filter.value === "all" || node.hasAttribute(`data-${filter.value}`);
        node.hidden = !(wanted && words.every((word) => text.includes(word)));
        shown += node.hidden ? 0 : 1;
      }
      const all = samples.length;
      count.textContent = `${shown} of ${all} prompt${all === 1 ? "" : "s"}`;
      nothing.hidden = shown > 0;
      mark(words);
    };

    const arrange = () => {
      const byPlace = (a, b) => a.place - b.place;
      const bySpread = (a, b) => b.spread - a.spread || a.place - b.place;
      samples.sort(order.value === "spread" ? bySpread : byPlace);
      list.append(...samples.map(({ node }) => node));
    };

    controls.hidden = false;
    controls.addEventListener("submit", (event) => event.preventDefault());
    search.addEventListener("input", update);
    filter.addEventListener("change", update);
    order.addEventListener("change", () => {
      arrange();
      update();
    });
    // Browsers keep what was typed when a page is loaded again.
    arrange();
    update();
  }

  // What fits needs no stop of the Tab key.
  const stops = Array.from(document.querySelectorAll(".scroll, pre"));
  const measure = () => {
    for (const box of stops) {
      const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      box.tabIndex = scrolls ? 0 : -1;
    }
  };
  measure();
  window.addEventListener("resize", measure);
  for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", measure);

  // On paper nothing can be opened.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = Array.from(document.querySelectorAll("details:not([open])"));
    for (const part of closed) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
  });
})();
