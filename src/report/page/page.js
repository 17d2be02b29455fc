'use strict';
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const byId = (id) => document.getElementById(id);
  const rowsBox = byId('rows'), tip = byId('tip'), live = byId('live');
  const length = Math.max(1, data.to - data.from);
  const minSpan = Math.min(length, 1000);
  // Spans: [from, length, online, unknown, start, end, status].
  const users = data.users.map((user) => {
    let online = 0, unknown = 0, sessions = 0;
    for (const span of user.spans) {
      online += span[2];
      unknown += span[3];
      if (span[2] === span[1] && span[3] === 0) sessions += 1;
    }
    return { ...user, online, unknown, sessions };
  });
  let shown = users.slice();
  let view = { from: 0, to: length };
  let chosen = -1, chosenSpan = -1;
  let pool = [];
  let printing = false;
  let rowHeight = 26;

  // Times.
  const offsetAt = (at) => {
    let offset = 0;
    for (const [from, value] of data.offsets) {
      if (from <= at || from === data.offsets[0][0]) offset = value;
    }
    return offset;
  };
  const local = (at) => new Date(at + offsetAt(at));
  const two = (number) => String(number).padStart(2, '0');
  const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
  const dayText = (date) => `${months[date.getUTCMonth()]} ${date.getUTCDate()}`;
  const clock = (date, seconds) => `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}${seconds ? ':' + two(date.getUTCSeconds()) : ''}`;
  const timeText = (from) => { const date = local(data.from + from); return `${dayText(date)} ${clock(date, true)}`; };
  const lengthText = (millis) => {
    if (millis < 1000) return `${Math.round(millis)} ms`;
    const parts = [];
    let rest = Math.round(millis / 1000);
    for (const [unit, name] of [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']]) {
      const number = Math.floor(rest / unit);
      rest -= number * unit;
      if (number > 0) parts.push(`${number} ${name}`);
    }
    return parts.slice(0, 2).join(' ');
  };
  const percent = (user) => {
    const observed = length - user.unknown;
    return observed > 0 ? `${(user.online / observed * 100).toFixed(1)}%` : '–';
  };

  // Colours, taken from the style sheet so that light, dark and print agree with it.
  let colours = {};
  const readColours = () => {
    const style = getComputedStyle(document.documentElement);
    for (const name of ['page', 'ink', 'faint', 'line', 'soft', 'online', 'offline', 'unknown', 'hatch', 'focus', 'area']) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    hatches = new Map();
  };
  let hatches = new Map();
  const hatch = (context, scale) => {
    const known = hatches.get(scale);
    if (known) return known;
    const tile = document.createElement('canvas');
    const size = Math.round(8 * scale);
    tile.width = tile.height = size;
    const paint = tile.getContext('2d');
    paint.fillStyle = colours.unknown;
    paint.fillRect(0, 0, size, size);
    paint.strokeStyle = colours.hatch;
    paint.lineWidth = 1.5 * scale;
    for (const shift of [-size, 0, size]) {
      paint.beginPath();
      paint.moveTo(shift - scale, size + scale);
      paint.lineTo(shift + size + scale, -scale);
      paint.stroke();
    }
    const pattern = context.createPattern(tile, 'repeat');
    pattern.setTransform(new DOMMatrix().scale(1 / scale));
    hatches.set(scale, pattern);
    return pattern;
  };

  const prepare = (canvas) => {
    const scale = Math.max(1, window.devicePixelRatio || 1);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const context = canvas.getContext('2d');
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width, height, scale };
  };
  const place = (at, width) => (at - view.from) / (view.to - view.from) * width;

  // The first span that ends after a time.
  const firstAfter = (spans, at) => {
    let low = 0, high = spans.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (spans[middle][0] + spans[middle][1] <= at) low = middle + 1; else high = middle;
    }
    return low;
  };

  // Ticks.
  const minute = 60000, hour = 3600000, day = 86400000;
  const steps = [1000, 5000, 10000, 30000, minute, 5 * minute, 15 * minute, hour / 2, hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day, 28 * day];
  const ticks = (width) => {
    const from = data.from + view.from, to = data.from + view.to;
    const room = Math.max(1, width / 90);
    const step = steps.find((candidate) => (to - from) / candidate <= room) || steps[steps.length - 1];
    const stride = step >= day ? hour / 4 : Math.min(step, hour / 4);
    const found = [];
    let days = 0;
    for (let at = Math.ceil(from / stride) * stride; at <= to; at += stride) {
      const ofDay = ((at + offsetAt(at)) % day + day) % day;
      if (step >= day ? ofDay === 0 && days++ % (step / day) === 0 : ofDay % step === 0) {
        const date = local(at);
        found.push({ at: at - data.from, major: ofDay === 0, label: ofDay === 0 ? dayText(date) : clock(date, step < minute) });
        if (step >= day) at += day - 2 * hour;
      }
    }
    return found;
  };

  let grid = [];
  const drawHead = () => {
    // The axis ends where the rows end, beside their scroll bar.
    byId('head').style.paddingRight = printing ? '0' : `${rowsBox.offsetWidth - rowsBox.clientWidth}px`;
    const axis = prepare(byId('axis'));
    grid = ticks(axis.width);
    axis.context.font = '12px system-ui, sans-serif';
    axis.context.textBaseline = 'middle';
    let free = 0;
    for (const tick of grid) {
      const x = Math.round(place(tick.at, axis.width)) + 0.5;
      axis.context.strokeStyle = colours.line;
      axis.context.beginPath();
      axis.context.moveTo(x, tick.major ? 6 : 21);
      axis.context.lineTo(x, axis.height);
      axis.context.stroke();
      axis.context.font = `${tick.major ? 600 : 400} 12px system-ui, sans-serif`;
      const text = axis.context.measureText(tick.label).width;
      const start = Math.min(x + 5, axis.width - text - 2);
      if (start >= free) {
        axis.context.fillStyle = tick.major ? colours.ink : colours.faint;
        axis.context.fillText(tick.label, start, 13);
        free = start + text + 8;
      }
    }
    drawCount();
    byId('range').textContent = `${lengthText(view.to - view.from)} shown`;
  };

  // How many users are online or unknown: steps made from the changes of all users.
  const countOf = (includes) => {
    const list = [];
    for (const user of users) {
      for (const span of user.spans) {
        if (span[1] > 0 && includes(span)) list.push([span[0], 1], [span[0] + span[1], -1]);
      }
    }
    list.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    let now = 0, peak = 0;
    const times = new Float64Array(list.length), counts = new Int32Array(list.length);
    list.forEach(([at, change], index) => {
      now += change;
      times[index] = at;
      counts[index] = now;
      peak = Math.max(peak, now);
    });
    return { times, counts, peak };
  };
  const changes = countOf((span) => span[2] === span[1]);
  const unknowns = countOf((span) => span[3] * 2 > span[1]);
  const firstStep = (times, at) => {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] <= at) low = middle + 1; else high = middle;
    }
    return low;
  };
  const drawCount = () => {
    const { context, width, height, scale } = prepare(byId('count'));
    drawGrid(context, width, height);
    // Where most users are unknown, their number says nothing.
    const hidden = new Uint8Array(Math.ceil(width));
    {
      let index = firstStep(unknowns.times, view.from);
      let now = index > 0 ? unknowns.counts[index - 1] : 0;
      context.fillStyle = hatch(context, scale);
      for (let x = 0; x < width; x += 1) {
        const middle = view.from + (x + 0.5) / width * (view.to - view.from);
        while (index < unknowns.times.length && unknowns.times[index] <= middle) now = unknowns.counts[index++];
        if (now * 2 > users.length) {
          hidden[x] = 1;
          context.fillRect(x, 6, 1, height - 6);
        }
      }
    }
    const { times, counts, peak } = changes;
    if (peak === 0 || width < 1) return;
    let index = firstStep(times, view.from);
    let now = index > 0 ? counts[index - 1] : 0;
    const top = (count) => height - 1 - count / peak * (height - 8);
    const line = new Path2D(), area = new Path2D();
    let open = false;
    for (let x = 0; x < width; x += 1) {
      const end = view.from + (x + 1) / width * (view.to - view.from);
      let most = now;
      while (index < times.length && times[index] < end) {
        now = counts[index];
        most = Math.max(most, now);
        index += 1;
      }
      if (hidden[x]) { open = false; continue; }
      const y = top(most);
      if (open) line.lineTo(x, y); else line.moveTo(x, y);
      line.lineTo(x + 1, y);
      area.rect(x, y, 1, height - y);
      open = true;
    }
    context.fillStyle = colours.area;
    context.fill(area);
    context.strokeStyle = colours.online;
    context.lineWidth = 1.5;
    context.stroke(line);
  };
  const drawGrid = (context, width, height) => {
    context.lineWidth = 1;
    for (const tick of grid) {
      const x = Math.round(place(tick.at, width)) + 0.5;
      context.strokeStyle = colours.line;
      context.globalAlpha = tick.major ? 1 : 0.55;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, height);
      context.stroke();
    }
    context.globalAlpha = 1;
  };

  const drawRow = (slot) => {
    const user = shown[slot.index];
    const { context, width, height, scale } = prepare(slot.canvas);
    drawGrid(context, width, height);
    const top = 6, bar = height - 12;
    context.fillStyle = colours.offline;
    context.fillRect(0, top, width, bar);
    const spans = user.spans;
    const pattern = hatch(context, scale);
    // Spans that share a pixel are drawn once.
    let drawnTo = -1;
    for (let index = firstAfter(spans, view.from); index < spans.length; index += 1) {
      const span = spans[index];
      if (span[0] > view.to) break;
      const unknown = span[3] * 2 > span[1];
      const start = Math.max(0, place(span[0], width));
      const end = Math.min(width, Math.max(place(span[0] + span[1], width), start + 1));
      if (!unknown && end - start <= 1 && end <= drawnTo) continue;
      context.fillStyle = unknown ? pattern : colours.online;
      context.globalAlpha = unknown || span[2] === span[1] ? 1 : 0.35 + 0.65 * span[2] / Math.max(1, span[1] - span[3]);
      context.fillRect(start, top, Math.max(1, end - start), bar);
      if (!unknown) drawnTo = end;
    }
    context.globalAlpha = 1;
    if (slot.index === chosen && chosenSpan >= 0 && spans[chosenSpan]) {
      const span = spans[chosenSpan];
      const start = Math.max(1, place(span[0], width) - 1), end = Math.min(width - 1, place(span[0] + span[1], width) + 1);
      context.strokeStyle = colours.focus;
      context.lineWidth = 2;
      context.strokeRect(start, top - 2, Math.max(3, end - start), bar + 4);
    }
  };

  // Rows: only those in sight exist, and are used again while scrolling.
  const sizer = document.createElement('div');
  sizer.id = 'sizer';
  rowsBox.append(sizer);
  const slotFor = (index) => {
    const row = document.createElement('div'), name = document.createElement('div');
    const label = document.createElement('b'), share = document.createElement('span');
    const cell = document.createElement('div'), canvas = document.createElement('canvas');
    row.className = 'row';
    row.setAttribute('role', 'row');
    name.className = 'name';
    name.setAttribute('role', 'rowheader');
    cell.setAttribute('role', 'gridcell');
    canvas.setAttribute('role', 'img');
    name.append(label, share);
    cell.append(canvas);
    row.append(name, cell);
    rowsBox.append(row);
    return { row, name, label, share, canvas, index };
  };
  const layout = () => {
    const all = printing;
    const first = all ? 0 : Math.max(0, Math.floor(rowsBox.scrollTop / rowHeight) - 2);
    const last = all ? shown.length : Math.min(shown.length, Math.ceil((rowsBox.scrollTop + rowsBox.clientHeight) / rowHeight) + 2);
    const wanted = new Set();
    for (let index = first; index < last; index += 1) wanted.add(index);
    const free = pool.filter((slot) => !wanted.has(slot.index));
    const used = new Map(pool.filter((slot) => wanted.has(slot.index)).map((slot) => [slot.index, slot]));
    for (const index of wanted) {
      if (used.has(index)) continue;
      const slot = free.pop() || slotFor(index);
      slot.index = index;
      used.set(index, slot);
    }
    for (const slot of free) slot.row.remove();
    pool = [...used.values()].sort((one, other) => one.index - other.index);
    if (all) pool.forEach((slot) => rowsBox.append(slot.row));
    for (const slot of pool) {
      const user = shown[slot.index];
      slot.row.style.top = `${slot.index * rowHeight}px`;
      slot.row.id = `row-${slot.index}`;
      slot.row.setAttribute('aria-rowindex', String(slot.index + 1));
      slot.row.setAttribute('aria-selected', String(slot.index === chosen));
      slot.row.classList.toggle('chosen', slot.index === chosen);
      slot.label.textContent = user.name;
      slot.share.textContent = percent(user);
      slot.canvas.setAttribute('aria-label', describe(user));
      drawRow(slot);
    }
  };
  const describe = (user) => `${user.sessions} ${user.sessions === 1 ? 'session' : 'sessions'}, online ${lengthText(user.online)} (${percent(user)} of observed time), not observed ${user.unknown ? lengthText(user.unknown) : 'never'}`;

  let due = 0;
  const draw = () => {
    if (due) return;
    due = requestAnimationFrame(() => { due = 0; drawHead(); layout(); });
  };
  const resize = () => {
    sizer.style.height = `${shown.length * rowHeight}px`;
    rowsBox.setAttribute('aria-rowcount', String(shown.length));
    draw();
  };

  // The window.
  const setView = (from, span) => {
    span = Math.min(length, Math.max(minSpan, span));
    from = Math.min(Math.max(0, from), length - span);
    view = { from, to: from + span };
    draw();
  };
  const zoom = (factor, at = (view.from + view.to) / 2) => {
    const span = Math.min(length, Math.max(minSpan, (view.to - view.from) * factor));
    setView(at - (at - view.from) / (view.to - view.from) * span, span);
  };
  const move = (part) => setView(view.from + part * (view.to - view.from), view.to - view.from);
  const whole = () => setView(0, length);

  // Details of a session or a gap.
  const edge = (code) => data.edges[code].replace('_', ' ');
  const rowsOf = (user, span) => {
    const entries = [];
    if (!span) {
      entries.push(['State', 'offline']);
      return entries;
    }
    const end = span[0] + span[1];
    const kind = span[3] * 2 > span[1] ? 'not observed' : span[2] === span[1] ? 'online' : 'several sessions';
    entries.push(['State', kind], ['From', timeText(span[0])]);
    entries.push(['To', data.edges[span[5]] === 'data_end' ? (kind === 'online' ? 'still online' : 'end of the window') : timeText(end)]);
    entries.push(['Length', lengthText(span[1])]);
    if (kind === 'online') entries.push(['Start, end', `${edge(span[4])}, ${edge(span[5])}`]);
    if (span[6]) entries.push(['Status', data.statuses[span[6] - 1]]);
    return entries;
  };
  const showTip = (user, entries, x, y) => {
    tip.replaceChildren();
    const title = document.createElement('strong');
    title.textContent = user.name === user.id ? user.id : `${user.name} (${user.id})`;
    const list = document.createElement('dl');
    for (const [term, text] of entries) {
      const dt = document.createElement('dt'), dd = document.createElement('dd');
      dt.textContent = term;
      dd.textContent = text;
      list.append(dt, dd);
    }
    tip.append(title, list);
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 14 + box.width > innerWidth - 8 ? x - 14 - box.width : x + 14;
    const top = y + 18 + box.height > innerHeight - 8 ? y - 12 - box.height : y + 18;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, top)}px`;
  };
  const hideTip = () => { tip.hidden = true; };
  const slotAt = (event) => pool.find((slot) => slot.row.contains(event.target));
  const spanAt = (user, at, slack) => {
    let index = firstAfter(user.spans, at - slack);
    let best = -1, distance = Infinity;
    for (; index < user.spans.length && user.spans[index][0] <= at + slack; index += 1) {
      const span = user.spans[index];
      const away = at < span[0] ? span[0] - at : Math.max(0, at - span[0] - span[1]);
      if (away < distance) { best = index; distance = away; }
    }
    return best;
  };
  const hover = (event) => {
    const slot = slotAt(event);
    if (!slot) { hideTip(); return; }
    const user = shown[slot.index];
    if (event.target !== slot.canvas) {
      showTip(user, [['Sessions', String(user.sessions)], ['Online', `${lengthText(user.online)} (${percent(user)})`], ['Not observed', user.unknown ? lengthText(user.unknown) : 'never']], event.clientX, event.clientY);
      return;
    }
    const box = slot.canvas.getBoundingClientRect();
    const span = view.to - view.from;
    const at = view.from + (event.clientX - box.left) / box.width * span;
    const index = spanAt(user, at, span / box.width * 2);
    const entries = rowsOf(user, user.spans[index]);
    if (index < 0) entries.push(['At', timeText(at)]);
    showTip(user, entries, event.clientX, event.clientY);
  };

  // Choosing by keys.
  const reveal = () => {
    const top = chosen * rowHeight;
    if (top < rowsBox.scrollTop) rowsBox.scrollTop = top;
    else if (top + rowHeight > rowsBox.scrollTop + rowsBox.clientHeight) rowsBox.scrollTop = top + rowHeight - rowsBox.clientHeight;
  };
  const announce = () => {
    const user = shown[chosen];
    if (!user) return;
    rowsBox.setAttribute('aria-activedescendant', `row-${chosen}`);
    const span = user.spans[chosenSpan];
    const entries = span ? rowsOf(user, span) : [['Sessions', String(user.sessions)], ['Online', `${lengthText(user.online)} (${percent(user)})`], ['Not observed', user.unknown ? lengthText(user.unknown) : 'never']];
    live.textContent = `${user.name}: ${entries.map(([term, text]) => `${term} ${text}`).join(', ')}`;
    requestAnimationFrame(() => {
      const slot = pool.find((candidate) => candidate.index === chosen);
      if (!slot) return;
      const box = slot.canvas.getBoundingClientRect();
      const x = span ? box.left + Math.min(box.width, Math.max(0, place(span[0] + Math.min(span[1], view.to - span[0]) / 2, box.width))) : box.left;
      showTip(user, entries, x, box.bottom - 12);
    });
  };
  const choose = (index, span = -1) => {
    if (shown.length === 0) return;
    chosen = Math.min(shown.length - 1, Math.max(0, index));
    chosenSpan = span;
    const picked = shown[chosen].spans[span];
    if (picked && (picked[0] + picked[1] < view.from || picked[0] > view.to)) {
      setView(picked[0] + picked[1] / 2 - (view.to - view.from) / 2, view.to - view.from);
    }
    reveal();
    draw();
    requestAnimationFrame(announce);
  };
  const step = (by) => {
    if (chosen < 0) { choose(Math.floor(rowsBox.scrollTop / rowHeight)); return; }
    const spans = shown[chosen].spans;
    if (spans.length === 0) { choose(chosen); return; }
    const next = chosenSpan < 0 ? (by > 0 ? firstAfter(spans, view.from) : spans.length - 1) : chosenSpan + by;
    choose(chosen, Math.min(spans.length - 1, Math.max(0, next)));
  };
  // Keys zoom around the chosen session, if it is in sight.
  const focusTime = () => {
    const span = chosen >= 0 ? shown[chosen].spans[chosenSpan] : undefined;
    const middle = span ? span[0] + span[1] / 2 : -1;
    return middle >= view.from && middle <= view.to ? middle : undefined;
  };
  rowsBox.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(rowsBox.clientHeight / rowHeight) - 1);
    const keys = {
      ArrowDown: () => choose(chosen + 1), ArrowUp: () => choose(chosen - 1),
      PageDown: () => choose(chosen + page), PageUp: () => choose(chosen - page),
      Home: () => choose(0), End: () => choose(shown.length - 1),
      ArrowRight: () => event.shiftKey ? move(0.25) : step(1), ArrowLeft: () => event.shiftKey ? move(-0.25) : step(-1),
      '+': () => zoom(0.5, focusTime()), '=': () => zoom(0.5, focusTime()), '-': () => zoom(2, focusTime()), _: () => zoom(2, focusTime()), 0: whole,
      Escape: () => { chosen = -1; chosenSpan = -1; hideTip(); draw(); },
    };
    const action = keys[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  rowsBox.addEventListener('blur', hideTip);
  rowsBox.addEventListener('focus', () => { if (chosen >= 0) announce(); });

  // Pointer: drag to move, pinch or Ctrl+wheel to zoom.
  const pointers = new Map();
  let drag = null;
  const area = document.querySelector('main');
  const fraction = (x) => {
    const box = byId('axis').getBoundingClientRect();
    return (x - box.left) / Math.max(1, box.width);
  };
  area.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.target.tagName !== 'CANVAS') return;
    pointers.set(event.pointerId, event.clientX);
    drag = { x: event.clientX, from: view.from, moved: false };
  });
  addEventListener('pointermove', (event) => {
    if (pointers.size === 2 && pointers.has(event.pointerId)) {
      const [one, other] = [...pointers.values()];
      pointers.set(event.pointerId, event.clientX);
      const [now, then] = [...pointers.values()];
      const before = Math.abs(one - other), after = Math.abs(now - then);
      if (before > 0 && after > 0) zoom(before / after, view.from + fraction((now + then) / 2) * (view.to - view.from));
      return;
    }
    if (drag && pointers.has(event.pointerId)) {
      const shift = fraction(drag.x) - fraction(event.clientX);
      if (Math.abs(drag.x - event.clientX) > 3) drag.moved = true;
      if (drag.moved) {
        area.classList.add('dragging');
        hideTip();
        setView(drag.from + shift * (view.to - view.from), view.to - view.from);
      }
      return;
    }
    if (rowsBox.contains(event.target)) hover(event); else if (document.activeElement !== rowsBox) hideTip();
  });
  const release = (event) => {
    pointers.delete(event.pointerId);
    area.classList.remove('dragging');
    if (drag && !drag.moved && event.type === 'pointerup') {
      const slot = slotAt(event);
      if (slot) {
        const box = slot.canvas.getBoundingClientRect(), span = view.to - view.from;
        const at = view.from + (event.clientX - box.left) / box.width * span;
        rowsBox.focus({ preventScroll: true });
        choose(slot.index, spanAt(shown[slot.index], at, span / box.width * 2));
      }
    }
    drag = null;
  };
  addEventListener('pointerup', release);
  addEventListener('pointercancel', release);
  area.addEventListener('pointerleave', () => { if (document.activeElement !== rowsBox) hideTip(); });
  area.addEventListener('wheel', (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(event.deltaY * 0.004), view.from + fraction(event.clientX) * (view.to - view.from));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      move((event.deltaX || event.deltaY) / 1000);
    }
  }, { passive: false });

  byId('in').addEventListener('click', () => zoom(0.5));
  byId('out').addEventListener('click', () => zoom(2));
  byId('left').addEventListener('click', () => move(-0.25));
  byId('right').addEventListener('click', () => move(0.25));
  byId('all').addEventListener('click', whole);
  const orders = {
    name: (one, other) => one.name.localeCompare(other.name),
    most: (one, other) => other.online - one.online,
    least: (one, other) => one.online - other.online,
    sessions: (one, other) => other.sessions - one.sessions,
    unknown: (one, other) => other.unknown - one.unknown,
  };
  const arrange = () => {
    const text = byId('find').value.trim().toLowerCase();
    shown = users.filter((user) => `${user.name}\n${user.id}`.toLowerCase().includes(text)).sort(orders[byId('sort').value]);
    chosen = chosenSpan = -1;
    rowsBox.scrollTop = 0;
    live.textContent = `${shown.length} of ${users.length} users`;
    resize();
  };
  byId('find').addEventListener('input', arrange);
  byId('sort').addEventListener('change', arrange);

  rowsBox.addEventListener('scroll', draw, { passive: true });
  addEventListener('resize', resize);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); draw(); });
  const print = (on) => {
    printing = on;
    if (due) { cancelAnimationFrame(due); due = 0; }
    readColours();
    drawHead();
    layout();
  };
  addEventListener('beforeprint', () => print(true));
  addEventListener('afterprint', () => print(false));
  matchMedia('print').addEventListener('change', (event) => print(event.matches));

  const start = local(data.from), end = local(data.to);
  const isShort = data.to - data.from < hour, year = end.getUTCFullYear();
  const range = dayText(start) === dayText(end)
    ? `${dayText(end)} ${year}, ${clock(start, isShort)} to ${clock(end, isShort)}`
    : `${dayText(start)} ${clock(start)} to ${dayText(end)} ${clock(end)} ${year}`;
  byId('summary').textContent = `${users.length} ${users.length === 1 ? 'user' : 'users'}, ${range}, times in ${data.zone}`;
  byId('peak').textContent = `at most ${changes.peak}`;
  byId('count').setAttribute('aria-label', `Users online over time: at most ${changes.peak} of ${users.length}`);
  shown.sort(orders.name);
  readColours();
  resize();
})();
