// What a serious finding of an accessibility checker would be, on the page as it stands. Comes to a list of words.
(() => {
  const findings = [];
  const visible = (element) => element.checkVisibility({ checkOpacity: false, checkVisibilityCSS: true });
  const all = (selector) => [...document.querySelectorAll(selector)].filter(visible);
  const name = (element) => element.outerHTML.slice(0, 90);
  const need = (fine, words, element) => { if (!fine) findings.push(`${words}: ${element ? name(element) : "page"}`); };

  need(document.documentElement.lang, "no language");
  need(document.title.trim(), "no title");
  need(document.querySelectorAll("main").length === 1, "not one main landmark");
  need(document.querySelectorAll("h1").length === 1, "not one first heading");
  need(!/user-scalable=no|maximum-scale/.test(document.querySelector("meta[name=viewport]").content), "no zooming");

  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  need(new Set(ids).size === ids.length, "an id twice");
  for (const element of document.querySelectorAll("[aria-labelledby], [aria-describedby]")) {
    const names = (element.getAttribute("aria-labelledby") ?? element.getAttribute("aria-describedby")).split(" ");
    need(names.every((id) => document.getElementById(id)), "a label that is not there", element);
  }
  let level = 0;
  for (const heading of all("h1, h2, h3, h4")) {
    const own = Number(heading.tagName[1]);
    need(own <= level + 1, "a heading that skips a level", heading);
    need(heading.textContent.trim(), "an empty heading", heading);
    level = own;
  }
  for (const image of all("img")) need(image.hasAttribute("alt"), "no alternative text", image);
  for (const image of all("svg:not([aria-hidden=true])")) need(image.getAttribute("role") === "img" && image.getAttribute("aria-label"), "a drawing without words", image);
  for (const field of all("input, select, textarea")) need(field.labels.length, "a field without a label", field);
  for (const button of all("button, a")) need(button.textContent.trim() || button.ariaLabel, "a control without a name", button);
  for (const table of all("table")) {
    need([...table.querySelectorAll("th")].every((cell) => cell.scope), "a heading cell without scope", table);
    need([...table.querySelectorAll("th")].every((cell) => cell.textContent.trim()), "an empty heading cell", table);
  }
  for (const box of all("*")) {
    const scrolls = /auto|scroll/.test(getComputedStyle(box).overflowX + getComputedStyle(box).overflowY);
    if (scrolls && (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) && box !== document.documentElement && box !== document.body) {
      need(box.tabIndex >= 0 && (box.ariaLabel || box.getAttribute("aria-labelledby")), "scrolls, and not by keyboard", box);
    }
  }
  need(!all("[tabindex]").some((element) => element.tabIndex > 0), "an order of its own for the keyboard");
  need(document.documentElement.scrollWidth <= screen.width + 1, `wider than the window: ${document.documentElement.scrollWidth} of ${screen.width}`);

  // Contrast, WCAG 2.1, 1.4.3.
  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const light = ([red, green, blue]) => {
    const part = (value) => { const it = value / 255; return it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(red) + 0.7152 * part(green) + 0.0722 * part(blue);
  };
  const behind = (element) => {
    for (let it = element; it; it = it.parentElement) {
      const colour = parse(getComputedStyle(it).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (one, other) => (Math.max(light(one), light(other)) + 0.05) / (Math.min(light(one), light(other)) + 0.05);
  for (const element of all("body *:not(svg *)")) {
    const says = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!says || element.closest(".hidden, .stale section, dialog:not([open])")) continue;
    const ratio = contrast(parse(getComputedStyle(element).color), behind(element));
    const large = parseFloat(getComputedStyle(element).fontSize) >= 24;
    need(ratio >= (large ? 3 : 4.5), `contrast of only ${ratio.toFixed(2)}`, element);
  }
  for (const text of all("#ring text")) {
    if (!text.textContent.trim()) continue;
    const shape = text.parentElement.querySelector("circle, rect");
    const ground = shape && !text.matches(".crown") ? parse(getComputedStyle(shape).fill) : behind(text.closest("section"));
    const ratio = contrast(parse(getComputedStyle(text).fill), ground);
    need(ratio >= 4.5, `contrast of only ${ratio.toFixed(2)} in the ring`, text);
  }
  return findings;
})()
