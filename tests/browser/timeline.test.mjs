// The page of `report timeline --html`, in Chromium. The pages are made by tests/report_page.rs, which runs this.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const SMALL = pathToFileURL(process.env.PAGE_SMALL).href;
const BIG = pathToFileURL(process.env.PAGE_BIG).href;
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const HOSTILE = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">';

let browser;
before(async () => { browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS }); });
after(async () => { await browser?.close(); });

/** Opens a page and collects everything that it should not do. */
async function open(url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1200, height: 700 }, ...options });
  const page = await context.newPage();
  const trouble = [];
  page.on('console', (message) => trouble.push(message.text()));
  page.on('pageerror', (error) => trouble.push(error.message));
  page.on('dialog', (dialog) => { trouble.push('a dialog'); dialog.dismiss(); });
  page.on('request', (request) => { if (request.url() !== url) trouble.push(request.url()); });
  await page.goto(url);
  await page.locator('.row').first().waitFor();
  return { page, context, trouble };
}

/** Waits for two frames, so that what was asked for is drawn. */
const drawn = (page) => page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));

test('the page asks for nothing and takes names as text', async () => {
  const { page, context, trouble } = await open(SMALL);
  const names = await page.locator('.name b').allTextContents();
  assert.ok(names.includes(HOSTILE), names.join('\n'));
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.evaluate(() => document.scripts.length), 2);
  assert.equal(await page.evaluate(() => document.images.length), 0);
  assert.deepEqual(trouble, []);
  await context.close();
});

test('keys choose a user and a session, and say what they are', async () => {
  const { page, context, trouble } = await open(SMALL);
  await page.getByRole('grid').focus();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('ArrowRight');
  await drawn(page);
  const tip = page.getByRole('tooltip');
  await tip.waitFor();
  assert.match(await tip.textContent(), /State(online|not observed)From.*To.*Length/);
  assert.match(await page.locator('#live').textContent(), /State (online|not observed), From/);
  const chosen = await page.getByRole('grid').getAttribute('aria-activedescendant');
  assert.equal(await page.locator(`#${chosen}`).getAttribute('aria-selected'), 'true');
  await page.keyboard.press('Escape');
  assert.ok(await tip.isHidden());
  assert.deepEqual(trouble, []);
  await context.close();
});

test('the pointer shows a session, zooms and moves', async () => {
  const { page, context, trouble } = await open(SMALL);
  const whole = await page.locator('#range').textContent();
  const box = await page.locator('.row canvas').nth(1).boundingBox();
  const middle = [box.x + box.width / 2, box.y + box.height / 2];
  await page.mouse.move(...middle);
  assert.match(await page.getByRole('tooltip').textContent(), /State/);
  await page.keyboard.down('Control');
  await page.mouse.wheel(0, -400);
  await page.keyboard.up('Control');
  await page.waitForFunction((before) => document.getElementById('range').textContent !== before, whole);
  const axis = () => page.locator('#axis').evaluate((canvas) => canvas.toDataURL());
  const before = await axis();
  await page.mouse.down();
  await page.mouse.move(middle[0] + 200, middle[1], { steps: 4 });
  await page.mouse.up();
  await drawn(page);
  assert.notEqual(await axis(), before);
  await page.getByRole('button', { name: 'Whole window' }).click();
  await page.waitForFunction((all) => document.getElementById('range').textContent === all, whole);
  await page.getByRole('button', { name: 'Zoom in' }).click();
  await page.waitForFunction((all) => document.getElementById('range').textContent !== all, whole);
  assert.deepEqual(trouble, []);
  await context.close();
});

test('users are found and sorted', async () => {
  const { page, context } = await open(SMALL);
  const all = Number(await page.getByRole('grid').getAttribute('aria-rowcount'));
  await page.getByLabel('Find').fill('hacked');
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 1);
  await page.getByLabel('Find').fill('');
  await page.waitForFunction((count) => document.getElementById('rows').getAttribute('aria-rowcount') === String(count), all);
  await page.getByLabel('Sort').selectOption('most');
  await drawn(page);
  const shares = await page.locator('.name span').allTextContents();
  assert.equal(shares.length, all);
  await context.close();
});

test('gaps are drawn unlike offline and online time', async () => {
  const { page, context } = await open(SMALL);
  const colours = await page.locator('.row canvas').first().evaluate((canvas) => {
    const { data } = canvas.getContext('2d').getImageData(0, canvas.height / 2, canvas.width, 1);
    const seen = new Set();
    for (let at = 0; at < data.length; at += 4) seen.add(data.slice(at, at + 3).join());
    return seen.size;
  });
  assert.ok(colours >= 4, `${colours} colours: online, offline, and two of the hatch`);
  await context.close();
});

for (const colorScheme of ['light', 'dark']) {
  test(`contrast in ${colorScheme}`, async () => {
    const { page, context } = await open(SMALL, { colorScheme });
    const contrast = await page.evaluate(() => {
      const style = getComputedStyle(document.documentElement);
      const light = (name) => {
        const parts = style.getPropertyValue(`--${name}`).trim().slice(1, 7).match(/../g).map((part) => {
          const value = parseInt(part, 16) / 255;
          return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const ratio = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      };
      return {
        text: Math.min(ratio('ink', 'page'), ratio('faint', 'page'), ratio('faint', 'soft')),
        graphics: Math.min(ratio('online', 'offline'), ratio('hatch', 'unknown'), ratio('focus', 'page')),
      };
    });
    assert.ok(contrast.text >= 4.5, `text ${contrast.text}`);
    assert.ok(contrast.graphics >= 3, `graphics ${contrast.graphics}`);
    await context.close();
  });
}

test('motion is reduced on request', async () => {
  const { page, context } = await open(SMALL, { reducedMotion: 'reduce' });
  assert.equal(await page.locator('#in').evaluate((button) => getComputedStyle(button).transitionDuration), '0s');
  await context.close();
});

test('on paper there are all rows and no controls', async () => {
  const { page, context } = await open(BIG);
  await page.emulateMedia({ media: 'print' });
  await page.waitForFunction(() => document.querySelectorAll('.row').length === 500);
  assert.ok(await page.locator('#find').isHidden());
  await page.emulateMedia({ media: 'screen' });
  await page.waitForFunction(() => document.querySelectorAll('.row').length < 100);
  await context.close();
});

test('a narrow window shows everything', async () => {
  const { page, context } = await open(SMALL, { viewport: { width: 360, height: 640 } });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  assert.ok((await page.locator('.row canvas').first().boundingBox()).width > 150);
  await context.close();
});

test('500 users with 100,000 sessions stay responsive', async () => {
  const start = Date.now();
  const { page, context, trouble } = await open(BIG);
  assert.ok((await page.locator('.row').count()) < 100, 'only the rows in sight exist');
  await page.getByRole('grid').focus();
  for (let press = 0; press < 10; press += 1) {
    await page.keyboard.press('+');
    await drawn(page);
  }
  await page.keyboard.press('0');
  await page.keyboard.press('End');
  await page.waitForFunction(() => document.querySelector('[aria-rowindex="500"]'));
  // Drawing a frame takes some milliseconds; this bound only notices what takes seconds.
  assert.ok(Date.now() - start < 30_000, `${Date.now() - start} ms`);
  assert.deepEqual(trouble, []);
  await context.close();
});
