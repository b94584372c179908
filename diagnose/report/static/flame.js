/*
 * Flame graph on a canvas, roots on top. No dependency, no network.
 *
 * mountFlame(container, data) draws into an element; every [data-flame="ID"] on the page is mounted by itself with the
 * JSON in the element with that id. The data: see flame_data() in report/flamegraph.py. Numbers of nodes are positions
 * in its arrays; parents stand before their children.
 */
(() => {
  'use strict';
  const ROW = 20, GAP = 1, PAD = 5, MIN_WIDTH = 0.4, MAX_HEIGHT = 16000;
  const OWN = 1, STD = 2, RUNTIME = 3, ITSELF = 4, SMALL = 5;
  const QUIET_POINTS = 0.5;                       // changes below are not coloured

  const element = (tag, properties, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  const scaled = (value, steps) => {
    const size = Math.abs(value);
    const [factor, unit] = steps.find(([limit]) => size >= limit) || steps[steps.length - 1];
    const shown = value / factor;
    return `${shown.toLocaleString('en', { maximumSignificantDigits: Math.abs(shown) < 1000 ? 3 : 4 })} ${unit}`;
  };
  const format = (value, unit) => {
    if (unit === 'nanoseconds') return scaled(value, [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']]);
    if (unit === 'bytes') return scaled(value, [[2 ** 30, 'GiB'], [2 ** 20, 'MiB'], [1024, 'KiB'], [1, 'B']]);
    return value.toLocaleString('en');
  };
  const percent = (share) => {
    const points = share * 100, size = Math.abs(points);
    return `${points.toFixed(size === 0 || size >= 10 ? 0 : size >= 0.1 ? 1 : 2)} %`;
  };
  const signed = (points) => `${points > 0 ? '+' : points < 0 ? '−' : '±'}${Math.abs(points).toFixed(1)} points`;

  // "go.opentelemetry.io/…/otelhttp.(*middleware).serveHTTP" → "otelhttp.(*middleware).serveHTTP"
  const shortName = (name) => {
    const end = name.search(/[[(]/);
    return name.slice(name.lastIndexOf('/', end < 0 ? name.length : end) + 1);
  };

  /** The call tree as parallel arrays, with the runtime's frames merged into their callers if asked to. */
  const buildTree = (data, hideRuntime) => {
    const { nodes, strings } = data;
    const tree = { name: [], file: [], kind: [], parent: [], depth: [], total: [], self: [], base: [], baseSelf: [], children: [] };
    const place = [], known = new Map();
    for (let i = 0; i < nodes.name.length; i++) {
      const parent = i ? place[nodes.parent[i]] : -1;
      const key = parent + ' ' + nodes.name[i];
      let at = hideRuntime && nodes.kind[i] === RUNTIME ? parent : known.get(key);
      const total = nodes.total[i], self = nodes.self[i];
      const base = data.base_total === undefined ? 0 : nodes.base_total[i];
      const baseSelf = data.base_total === undefined ? 0 : nodes.base_self[i];
      if (at === undefined) {
        at = tree.name.length;
        known.set(key, at);
        tree.name.push(strings[nodes.name[i]]);
        tree.file.push(strings[nodes.file[i]]);
        tree.kind.push(nodes.kind[i]);
        tree.parent.push(parent);
        tree.depth.push(parent < 0 ? 0 : tree.depth[parent] + 1);
        for (const list of [tree.total, tree.self, tree.base, tree.baseSelf]) list.push(0);
        tree.children.push([]);
        if (parent >= 0) tree.children[parent].push(at);
      }
      if (at !== parent) { tree.total[at] += total; tree.base[at] += base; }
      tree.self[at] += self;
      tree.baseSelf[at] += baseSelf;
      place.push(at);
    }
    return tree;
  };

  const mountFlame = (container, data) => {
    const compared = data.base_total !== undefined;
    const notable = compared && data.notable ? new Set(data.notable.map((at) => data.strings[at])) : null;
    let tree = buildTree(data, false), view = compared ? 'difference' : 'during';
    let zoomed = 0, focused = 0, hovered = -1, matcher = null, matched = null;
    let boxes = [], rows = [], boxOf = new Map(), colours = {}, width = 0;

    // ---- what stands around the canvas
    const search = element('input', { type: 'search', placeholder: 'search (regular expression)', ariaLabel: 'search functions' });
    const hits = element('span', { className: 'fhits' });
    hits.setAttribute('role', 'status');
    const select = element('select', { ariaLabel: 'what to show' },
      ...['difference', 'during', 'before'].map((name) => element('option', { value: name, textContent: name })));
    const hide = element('button', { type: 'button', textContent: 'hide runtime', ariaPressed: 'false' });
    const reset = element('button', { type: 'button', textContent: 'reset' });
    const keys = element('span', { className: 'fkeys' });
    const tools = element('div', { className: 'ftools' }, search, ...(compared ? [select] : []), hide, reset, hits, keys);
    const path = element('ol', { className: 'fpath', ariaLabel: 'zoomed into' });
    const canvas = element('canvas', { tabIndex: 0 });
    canvas.setAttribute('role', 'application');
    canvas.setAttribute('aria-roledescription', 'flame graph');
    canvas.setAttribute('aria-label', `${data.type} flame graph${compared ? ', during against before' : ''}. Arrow keys move between `
      + 'functions, Enter zooms in, Escape zooms out.');
    const tip = element('div', { className: 'ftip', hidden: true });
    tip.setAttribute('aria-hidden', 'true');
    const live = element('div', { className: 'fhidden' });
    live.setAttribute('aria-live', 'polite');
    const frame = element('div', { className: 'fview' }, canvas);
    container.replaceChildren(tools, path, frame, tip, live);
    const pen = canvas.getContext('2d');

    // ---- numbers
    const size = (at) => Math.max(0, view === 'before' ? tree.base[at] : tree.total[at]);
    const total = (at) => (at ? tree.total[at] : data.total);          // the root without the profiler's own work
    const base = (at) => (at ? tree.base[at] : data.base_total);
    const share = (at) => (data.total ? total(at) / data.total : 0);
    const baseShare = (at) => (data.base_total ? base(at) / data.base_total : 0);
    const points = (at) => (share(at) - baseShare(at)) * 100;
    const insideItself = (at) => {
      for (; at > 0; at = tree.parent[at]) if (tree.kind[at] === ITSELF) return true;
      return false;
    };
    const isEmpty = () => size(0) === 0;

    // ---- colours: read from the style sheet, mixed here
    const readColours = () => {
      const style = getComputedStyle(container);
      const rgb = (name) => {
        pen.fillStyle = '#888';
        pen.fillStyle = style.getPropertyValue(name).trim();
        return [1, 3, 5].map((at) => parseInt(pen.fillStyle.slice(at, at + 2), 16));
      };
      for (const name of ['ink', 'mute', 'line', 'card', 'chip', 'accent', 'more', 'less']) colours[name] = rgb(`--f-${name}`);
      colours.mono = style.getPropertyValue('--f-mono');
    };
    const mix = (from, to, k) => from.map((part, at) => Math.round(part + (to[at] - part) * k));
    const css = (rgb) => `rgb(${rgb.join(' ')})`;
    const colourOf = (at) => {
      const kind = tree.kind[at];
      if (kind === SMALL || insideItself(at)) return mix(colours.card, colours.chip, 0.55);
      if (view === 'difference') {
        const change = points(at);
        if (Math.abs(change) < QUIET_POINTS || at === 0 || (notable && !notable.has(tree.name[at]))) return colours.chip;
        return mix(colours.chip, change > 0 ? colours.more : colours.less, Math.min(1, 0.2 + Math.abs(change) / 60));
      }
      if (at === 0) return colours.chip;
      if (kind === OWN) return mix(colours.chip, colours.accent, 0.45);
      if (kind === RUNTIME) return mix(colours.chip, colours.mute, 0.3);
      return kind === STD ? colours.chip : mix(colours.chip, colours.accent, 0.16);
    };
    const luminance = ([r, g, b]) => [r, g, b]
      .map((part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
      .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const textOn = (fill) => (luminance(fill) > 0.2 ? '#14161a' : '#fff');
    const legend = () => {
      const entry = (fill, text) => {
        const swatch = element('i');
        swatch.style.background = css(fill);
        return element('span', {}, swatch, text);
      };
      keys.replaceChildren(...(view === 'difference'
        ? [entry(colours.more, 'more'), entry(colours.chip, notable ? 'not significant' : 'about the same'), entry(colours.less, 'less')]
        : [entry(mix(colours.chip, colours.accent, 0.45), 'own code'), entry(mix(colours.chip, colours.accent, 0.16), 'modules'),
          entry(colours.chip, 'standard library'), entry(mix(colours.chip, colours.mute, 0.3), 'runtime')]));
    };

    // ---- layout: boxes = {at, x, w, row}, in the order they are drawn; rows = boxes per row from left to right
    const layout = () => {
      boxes = []; rows = []; boxOf = new Map();
      const add = (at, x, w, row) => {
        const box = { at, x, w, row };
        boxes.push(box);
        boxOf.set(at, box);
        (rows[row] = rows[row] || []).push(box);
        return box;
      };
      for (let at = tree.parent[zoomed]; at >= 0; at = tree.parent[at]) add(at, 0, width, tree.depth[at]);
      const waiting = [add(zoomed, 0, width, tree.depth[zoomed])];
      while (waiting.length) {
        const { at, x, w, row } = waiting.pop();
        const whole = Math.max(size(at), tree.children[at].reduce((sum, child) => sum + size(child), 0));
        if (!whole || (row + 2) * ROW > MAX_HEIGHT) continue;
        let left = x;
        for (const child of tree.children[at]) {
          const part = w * size(child) / whole;
          if (part >= MIN_WIDTH) waiting.push(add(child, left, part, row + 1));
          left += part;
        }
      }
    };

    const label = (box, columns) => {
      if (columns < 3) return '';
      const name = shortName(tree.name[box.at]);
      const share = insideItself(box.at) ? '' : shares(box.at);
      if (share && name.length + share.length + 2 <= columns) return `${name}  ${share}`;
      return name.length <= columns ? name : `${name.slice(0, columns - 1)}…`;
    };
    const shares = (at) => (view === 'difference' ? `${percent(baseShare(at))} → ${percent(share(at))}`
      : percent(view === 'before' ? baseShare(at) : share(at)));

    const draw = () => {
      const height = Math.max(1, rows.length) * ROW, ratio = window.devicePixelRatio || 1;
      const density = Math.min(ratio, 32000 / height);
      canvas.width = Math.round(width * density);
      canvas.height = Math.round(height * density);
      canvas.style.height = `${height}px`;
      pen.setTransform(density, 0, 0, density, 0, 0);
      pen.font = `12px ${colours.mono}`;
      pen.textBaseline = 'middle';
      const letter = pen.measureText('M').width;
      for (const box of boxes) {
        const above = box.row < tree.depth[zoomed], found = matched && matched[box.at];
        let fill = colourOf(box.at);
        if (above) fill = mix(fill, colours.card, 0.5);
        if (matched && !found) fill = mix(fill, colours.card, 0.72);
        const w = Math.max(box.w - GAP, Math.min(box.w, 1));
        const y = box.row * ROW;
        pen.fillStyle = css(fill);
        pen.beginPath();
        pen.roundRect ? pen.roundRect(box.x, y, w, ROW - GAP, w > 5 ? 2 : 0) : pen.rect(box.x, y, w, ROW - GAP);
        pen.fill();
        if (found && w > 3) outline(box, colours.accent, 1);
        const text = label(box, Math.floor((w - 2 * PAD) / letter));
        if (text) {
          pen.globalAlpha = matched && !found || tree.kind[box.at] >= ITSELF || insideItself(box.at) ? 0.65 : 1;
          pen.fillStyle = textOn(fill);
          pen.fillText(text, box.x + PAD, y + ROW / 2);
          pen.globalAlpha = 1;
        }
      }
      if (boxOf.has(hovered)) outline(boxOf.get(hovered), colours.ink, 1);
      if (document.activeElement === canvas && boxOf.has(focused)) outline(boxOf.get(focused), colours.ink, 2);
      if (isEmpty()) {
        pen.fillStyle = css(colours.mute);
        pen.fillText(`no samples${view === 'before' ? ' before' : ''}`, PAD, ROW / 2);
      }
    };
    const outline = (box, colour, line) => {
      pen.strokeStyle = css(colour);
      pen.lineWidth = line;
      const half = line / 2;
      pen.strokeRect(box.x + half, box.row * ROW + half, Math.max(1, box.w - GAP - line), ROW - GAP - line);
    };

    // ---- search
    const findMatches = () => {
      matched = null;
      hits.textContent = '';
      if (!matcher) return;
      matched = tree.name.map((name, at) => at > 0 && matcher(name));
      const covered = [];
      let now = 0, before = 0, count = 0;
      matched.forEach((found, at) => {
        const above = at > 0 && covered[tree.parent[at]];
        covered.push(above || found);
        if (found) count++;
        if (found && !above && !insideItself(at)) { now += tree.total[at]; before += tree.base[at]; }
      });
      const shown = percent(data.total ? now / data.total : 0);
      hits.textContent = count === 0 ? 'no match' : `matched ${compared ? `${percent(data.base_total ? before / data.base_total : 0)} → ` : ''}${shown}`;
    };
    const readSearch = () => {
      const text = search.value.trim();
      let pattern = null;
      try { pattern = new RegExp(text, 'i'); } catch { /* not a pattern yet: taken literally */ }
      search.setAttribute('aria-invalid', String(!pattern));
      matcher = !text ? null : pattern ? (name) => pattern.test(name) : (name) => name.toLowerCase().includes(text.toLowerCase());
    };

    // ---- telling about one function
    const cell = (tag, text) => element(tag, { textContent: text });
    const line = (head, now, before, itself) => {
      const row = element('tr', {}, cell('th', head)), part = (value, all) => (all ? value / all : 0);
      const pair = (value, all) => row.append(cell('td', format(value, data.unit)), cell('td', itself ? '' : percent(part(value, all))));
      if (compared) pair(before, data.base_total);
      pair(now, data.total);
      if (compared && !itself) row.append(cell('td', signed((part(now, data.total) - part(before, data.base_total)) * 100)));
      return row;
    };
    const showTip = (at, x, y) => {
      const table = element('table'), itself = insideItself(at);
      if (compared) table.append(element('tr', {}, ...['', 'before', '', 'during', '', 'change'].map((head) => cell('th', head))));
      table.append(line('total', total(at), base(at), itself), line('self', tree.self[at], tree.baseSelf[at], itself));
      const notes = tree.file[at] ? [cell('span', tree.file[at])] : [];
      if (itself) notes.push(cell('span', 'work of taking profiles; not part of any share'));
      if (tree.kind[at] === SMALL) notes.push(cell('span', 'calls too small to draw'));
      tip.replaceChildren(cell('b', at ? tree.name[at] : `all ${data.type}`), ...notes, table);
      tip.hidden = false;
      const left = Math.max(0, Math.min(x + 14, container.clientWidth - tip.offsetWidth - 4));
      tip.style.left = `${left}px`;
      tip.style.top = `${y + 18}px`;
    };
    const say = (at) => {
      const words = [tree.name[at], `total ${format(total(at), data.unit)}`];
      if (!insideItself(at)) words.push(compared ? `${percent(baseShare(at))} before, ${percent(share(at))} during` : percent(share(at)));
      words.push(`self ${format(tree.self[at], data.unit)}`, tree.file[at], `level ${tree.depth[at]}`);
      live.textContent = words.filter(Boolean).join(', ');
    };

    // ---- doing
    const refresh = () => { layout(); findMatches(); legend(); breadcrumbs(); draw(); };
    const breadcrumbs = () => {
      const trail = [];
      for (let at = zoomed; at >= 0; at = tree.parent[at]) trail.unshift(at);
      const crumbs = trail.length > 6 ? [trail[0], -1, ...trail.slice(-4)] : trail;
      path.replaceChildren(...crumbs.map((at) => element('li', {}, at < 0 ? '…' : crumb(at))));
      reset.disabled = zoomed === 0 && !search.value;
    };
    const crumb = (at) => {
      const button = element('button', { type: 'button', textContent: shortName(tree.name[at]), title: tree.name[at] });
      button.addEventListener('click', () => zoom(at));
      return button;
    };
    const zoom = (at) => {
      zoomed = focused = at;
      tip.hidden = true;
      refresh();
    };
    const boxAt = (event) => {
      const area = canvas.getBoundingClientRect();
      const x = event.clientX - area.left, row = Math.floor((event.clientY - area.top) / ROW);
      return (rows[row] || []).find((box) => x >= box.x && x < box.x + Math.max(box.w, 1));
    };
    const tipAtFocus = () => {
      const box = boxOf.get(focused);
      if (!box) return;
      const top = box.row * ROW;
      if (top < frame.scrollTop) frame.scrollTop = top;
      if (top + ROW > frame.scrollTop + frame.clientHeight) frame.scrollTop = top + ROW - frame.clientHeight;
      showTip(focused, box.x, frame.offsetTop + top - frame.scrollTop);
    };
    const move = (key) => {
      const box = boxOf.get(focused);
      if (!box) return zoomed;
      const row = rows[box.row], at = row.indexOf(box);
      if (key === 'ArrowUp') return tree.parent[focused];
      if (key === 'ArrowLeft') return row[at - 1]?.at;
      if (key === 'ArrowRight') return row[at + 1]?.at;
      if (key === 'Home') return 0;
      const below = (rows[box.row + 1] || []).filter((each) => tree.parent[each.at] === focused);
      return below.reduce((best, each) => (best && best.w >= each.w ? best : each), null)?.at;
    };

    canvas.addEventListener('mousemove', (event) => {
      const box = boxAt(event), area = container.getBoundingClientRect();
      const before = hovered;
      hovered = box ? box.at : -1;
      if (box) showTip(box.at, event.clientX - area.left, event.clientY - area.top); else tip.hidden = true;
      if (before !== hovered) draw();
    });
    canvas.addEventListener('mouseleave', () => { hovered = -1; tip.hidden = true; draw(); });
    canvas.addEventListener('click', (event) => { const box = boxAt(event); if (box) { zoom(box.at); say(box.at); } });
    canvas.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') zoom(focused);
      else if (event.key === 'Escape') { search.value = ''; readSearch(); zoom(0); }
      else if (/^(Arrow|Home)/.test(event.key)) {
        const next = move(event.key);
        if (next !== undefined && next >= 0) focused = next;
        draw();
        tipAtFocus();
      } else return;
      event.preventDefault();
      say(focused);
    });
    canvas.addEventListener('focus', () => { draw(); if (canvas.matches(':focus-visible')) { tipAtFocus(); say(focused); } });
    canvas.addEventListener('blur', () => { tip.hidden = true; draw(); });
    search.addEventListener('input', () => { readSearch(); refresh(); });
    select.addEventListener('change', () => { view = select.value; refresh(); });
    reset.addEventListener('click', () => { search.value = ''; readSearch(); zoom(0); });
    hide.addEventListener('click', () => {
      const hidden = hide.getAttribute('aria-pressed') !== 'true';
      hide.setAttribute('aria-pressed', String(hidden));
      tree = buildTree(data, hidden);
      zoom(0);
    });

    const restyle = () => { readColours(); refresh(); };
    new ResizeObserver(() => {
      const now = frame.clientWidth;
      if (now && now !== width) { width = now; refresh(); }
    }).observe(frame);
    for (const query of ['(prefers-color-scheme: dark)', 'print']) matchMedia(query).addEventListener('change', restyle);
    width = frame.clientWidth || 600;
    restyle();
  };

  const mountAll = () => {
    for (const container of document.querySelectorAll('[data-flame]')) {
      mountFlame(container, JSON.parse(document.getElementById(container.dataset.flame).textContent));
    }
  };
  globalThis.mountFlame = mountFlame;
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', mountAll); else mountAll();
})();
