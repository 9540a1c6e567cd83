"use strict";
(() => {
  const EVERY = 1500;
  const { base, app } = document.documentElement.dataset, token = location.hash.slice(1);
  const main = document.querySelector("main"), leave = document.getElementById("leave");
  const said = document.getElementById("said"), news = document.getElementById("news");
  const links = [...document.querySelectorAll("nav a")], titles = new Map(links.map(a => [a.dataset.view, a.textContent]));
  // The server has escaped what is in a fragment, and the page's policy lets nothing in it run.
  const policy = { createHTML: text => text };
  const trusted = window.trustedTypes ? trustedTypes.createPolicy("console", policy) : policy;
  const ask = (path, more = {}) => fetch(base + path,
    { ...more, cache: "no-store", headers: { ...more.headers, "X-Console-Token": token } });

  // What stands in the path: the view; and its filters.
  const place = () => {
    const name = location.pathname.slice(base.length + 1);
    return { view: titles.has(name) ? name : links[0].dataset.view, query: location.search };
  };
  // `shown`: the view whose fragment stands there, which is not yet `here` while that is asked for.
  let here = place(), shown = here.view, tag = null, counts = {}, ahead = 0, trouble = false, timer, turns = 0;

  // Make `old` what `fresh` is and touch nothing that is the same, so that focus, scrolling, sound and what somebody
  // types stay. `was`: the HTML that an element came as; the script may have changed it since.
  const was = new WeakMap();
  const note = node => { for (const each of [node, ...node.querySelectorAll("*")]) was.set(each, each.outerHTML); };
  const isElement = node => node.nodeType === Node.ELEMENT_NODE;
  function update(old, fresh) {
    if (!isElement(old)) { if (old.data !== fresh.data) old.data = fresh.data; return; }
    const html = fresh.outerHTML;
    if (was.get(old) === html) return;
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    merge(old, fresh);
    was.set(old, html);
  }
  function merge(old, fresh) {
    const named = new Map([...old.children].filter(each => each.id).map(each => [each.id, each]));
    const wanted = new Set([...fresh.children].map(each => each.id));
    for (const [id, each] of named) if (!wanted.has(id)) each.remove();
    let at = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      const same = node.id ? named.get(node.id) : at && !at.id && at.nodeName === node.nodeName ? at : null;
      if (!same || same.nodeName !== node.nodeName) {
        if (isElement(node)) note(node);
        old.insertBefore(node, at);
        continue;
      }
      if (same === at) at = at.nextSibling; else old.insertBefore(same, at);
      update(same, node);
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  }

  function show(html, moved) {
    const held = main.contains(document.activeElement);
    const fresh = document.createElement("main");
    fresh.innerHTML = trusted.createHTML(html);
    if (moved) main.replaceChildren();
    merge(main, fresh);
    for (const each of main.querySelectorAll("[data-file]")) if (!loaded.has(each)) load(each);
    for (const link of main.querySelectorAll("a")) if (isOurs(link)) link.hash = location.hash;
    tick();
    watch();
    // What had the focus is gone: the next thing is found from the heading.
    if (moved || (held && !main.contains(document.activeElement))) main.querySelector("h1")?.focus();
  }

  // A click is meant for what stood there when somebody made up their mind. So a button takes none for a moment after it
  // has come, has got another meaning, or has been moved. Somebody's own scrolling does not count: that leaves it where
  // it is on a page of the same height. From the keyboard, no button is hit because it has moved.
  const STANDS = 600, stood = new WeakMap();
  let height, changed;
  function watch() {
    const now = performance.now(), high = document.documentElement.scrollHeight;
    if (high !== height) { height = high; changed = now; }
    for (const button of main.querySelectorAll("form[method=post] button")) {
      const { value } = button, box = button.getBoundingClientRect(), left = Math.round(box.left);
      const top = Math.round(box.top), onPage = Math.round(box.top + scrollY), last = stood.get(button);
      const there = last && last.left === left && (last.top === top || (last.onPage === onPage && now - changed > STANDS));
      const since = there && last.value === value ? last.since : now;
      stood.set(button, { value, left, top, onPage, since });
      button.toggleAttribute("data-moved", now - since < STANDS);
    }
  }
  document.addEventListener("click", event => {
    watch();
    if (event.detail && event.target.closest("[data-moved]")) event.preventDefault();
  }, true);
  setInterval(watch, 100);

  const isOurs = link => link.origin === location.origin;
  const loaded = new WeakSet();
  async function copyOf(name, type) {
    const answer = await ask(`/views/${shown}/files/${name}`);
    if (!answer.ok) throw new Error("no copy");
    const given = type ? answer.headers.get("Content-Type") : "application/octet-stream";
    return URL.createObjectURL(new Blob([await answer.arrayBuffer()], { type: given }));
  }
  function load(node) {
    loaded.add(node);
    copyOf(node.dataset.file, true).then(url => {
      if (node.localName === "img") node.onload = () => URL.revokeObjectURL(url);
      node.src = url;
    }, () => { node.alt = "The copy cannot be shown."; });
  }
  // As bytes of no type, a browser opens it nowhere.
  async function save(button) {
    try {
      const link = document.createElement("a");
      link.href = await copyOf(button.dataset.save, false);
      link.download = button.dataset.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch { tell("That copy is not there any more."); }
  }

  let quiet;
  function tell(text) {
    said.textContent = text;
    clearTimeout(quiet);
    quiet = setTimeout(() => { if (!trouble) said.textContent = ""; }, 8000);
  }
  function problem(text) { trouble = true; if (said.textContent !== text) said.textContent = text; }

  function count(found) {
    for (const link of links) {
      const number = found[link.dataset.view] ?? 0, before = counts[link.dataset.view] ?? 0;
      if (number > before) news.textContent = `${titles.get(link.dataset.view)}: ${number}`;
      if (number !== before) {
        link.textContent = titles.get(link.dataset.view);
        if (number) {
          const badge = document.createElement("span");
          badge.className = "count";
          badge.textContent = number;
          link.append(" ", badge);
        }
      }
    }
    counts = found;
    const waits = Object.values(found).reduce((sum, each) => sum + each, 0);
    document.title = `${waits ? `(${waits}) ` : ""}${titles.get(here.view)} · waha-mcp`;
  }

  async function look() {
    clearTimeout(timer);
    const asked = here, turn = ++turns;
    try {
      const headers = tag ? { "If-None-Match": tag } : {};
      const answer = await ask(`/views/${asked.view}${asked.query}`, { headers });
      const text = await answer.text();
      if (turn !== turns) return;  // it was asked again since
      if (answer.status === 401) { location.reload(); return; }  // to the log-in
      if (answer.status === 403) problem("This address has no right to look: open the one that waha-mcp printed.");
      else if (!answer.ok && answer.status !== 304) problem(text);
      else {
        if (trouble) { trouble = false; said.textContent = ""; }
        ahead = answer.headers.get("X-Console-Now") * 1000 - Date.now();
        count(JSON.parse(answer.headers.get("X-Console-Counts")));
        if (answer.status !== 304) {
          const moved = tag === null;
          tag = answer.headers.get("ETag");
          shown = asked.view;
          show(text, moved);
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      problem(app ? "The server cannot be reached." : "waha-mcp console is not running any more.");
    }
    if (turn === turns) timer = setTimeout(() => { if (!document.hidden) look(); }, EVERY);
  }

  function go(path, query) {
    history.pushState(null, "", path + query + location.hash);
    arrive();
  }
  function arrive() {
    here = place();
    tag = null;
    for (const link of links)
      if (link.dataset.view === here.view) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    look();
  }

  async function act(form, button) {
    const buttons = [...form.querySelectorAll("button")], body = new URLSearchParams(new FormData(form));
    for (const each of buttons) each.disabled = true;
    try {
      const answer = await ask(`/views/${shown}/${button.value}`, { method: "POST", body });
      const text = await answer.text();
      if (answer.status === 401) { location.reload(); return; }
      tell(text);
    } catch {
      problem("That did not reach waha-mcp: look whether it has happened.");
    }
    await look();
    for (const each of buttons) each.disabled = false;
    // What is disabled or gone loses the focus.
    if (document.activeElement === document.body) (button.isConnected ? button : main.querySelector("h1"))?.focus();
  }

  document.addEventListener("click", event => {
    const link = event.target.closest("a"), button = event.target.closest("[data-save]");
    if (button) save(button);
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (isOurs(link)) { event.preventDefault(); go(link.pathname, link.search); }
  });
  document.addEventListener("submit", event => {
    event.preventDefault();
    if (event.target.method === "post") { act(event.target, event.submitter); return; }
    const query = new URLSearchParams([...new FormData(event.target)].filter(([, value]) => value)).toString();
    go(location.pathname, query && `?${query}`);
  });
  addEventListener("popstate", arrive);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  if (leave) leave.onclick = async () => { await ask("/logout", { method: "POST" }); location.assign(base); };

  // How long each thing still stands, beside the time that a screen reader reads.
  function tick() {
    for (const each of main.querySelectorAll("[data-until]")) {
      const left = Math.max(0, Math.round(each.dataset.until - (Date.now() + ahead) / 1000));
      const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left`;
      if (each.textContent !== text) each.textContent = text;
    }
  }
  setInterval(tick, 1000);
  for (const link of links) link.hash = location.hash;
  arrive();
})();
