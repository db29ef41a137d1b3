// One tab stop for many cells: arrow keys move by position, Enter opens, Space selects; a tooltip on hover and focus.

import { C, h, useCallback, useEffect, useLayoutEffect, useRef, useState } from "./host.js";

/** @param {Element} element */
function middle(element) {
  const box = element.getBoundingClientRect();
  return { x: box.left + box.width / 2, y: box.top + box.height / 2 };
}

/**
 * The cell that lies next in the direction of an arrow key, or null.
 * @param {HTMLElement} root
 * @param {HTMLElement} from
 * @param {string} key
 * @returns {HTMLElement | null}
 */
function neighbour(root, from, key) {
  const rows = [...root.querySelectorAll("[data-row]")].map((row) => /** @type {HTMLElement[]} */ ([...row.querySelectorAll("[data-cell]")])).filter((row) => row.length);
  const at = rows.findIndex((row) => row.includes(from));
  if (at < 0) return null;
  const row = rows[at];
  const column = row.indexOf(from);
  if (key === "ArrowLeft") return row[column - 1] ?? null;
  if (key === "ArrowRight") return row[column + 1] ?? null;
  if (key === "Home") return row[0];
  if (key === "End") return row[row.length - 1];
  const other = rows[at + (key === "ArrowDown" ? 1 : -1)];
  if (!other) return null;
  const { x } = middle(from);
  return other.reduce((best, cell) => (Math.abs(middle(cell).x - x) < Math.abs(middle(best).x - x) ? cell : best));
}

const MOVES = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]);

/** @typedef {{cell: string, byFocus: boolean, text: string, x: number, y: number, below: boolean}} Tooltip */

/**
 * The tooltip of a cell where the cell is now, or null if the cell has none or is out of sight.
 * @param {HTMLElement | null | undefined} cell
 * @param {boolean} byFocus
 * @returns {Tooltip | null}
 */
function tipOf(cell, byFocus) {
  const { cell: name, tip: text } = cell?.dataset ?? {};
  if (!cell || !name || !text) return null;
  const box = cell.getBoundingClientRect();
  if (box.bottom < 0 || box.top > innerHeight) return null;
  const below = box.top < 170;
  return { cell: name, byFocus, text, x: box.left + box.width / 2, y: below ? box.bottom + 8 : box.top - 8, below };
}

/**
 * @param {Tooltip | null} one
 * @param {Tooltip | null} other
 */
const sameTip = (one, other) => one === other || (one !== null && other !== null && one.cell === other.cell && one.byFocus === other.byFocus && one.text === other.text && one.x === other.x && one.y === other.y && one.below === other.below);

/**
 * Handlers for an element that holds rows (`data-row`) of cells (`data-cell` is the key, `data-tip` the tooltip).
 *
 * `tabIndexOf(key)` is 0 for one cell: the one that had the focus last, else `first`.
 * @param {{keys: string[], first?: string | null, onOpen: (key: string) => void, onToggle?: (key: string) => void}} options
 */
export function useCells({ keys, first, onOpen, onToggle }) {
  const [active, setActive] = useState(/** @type {string | null} */ (null));
  const [tip, setTip] = useState(/** @type {Tooltip | null} */ (null));
  const root = useRef(/** @type {HTMLElement | null} */ (null));
  const pointer = useRef({ x: -1, y: -1 });
  const stop = active !== null && keys.includes(active) ? active : first && keys.includes(first) ? first : keys[0] ?? null;

  /** @param {EventTarget | null} target */
  const cellOf = (target) => /** @type {HTMLElement | null} */ (target instanceof Element ? target.closest("[data-cell]") : null);
  const show = useCallback((/** @type {Tooltip | null} */ next) => setTip((before) => (sameTip(before, next) ? before : next)), []);
  const hide = useCallback(() => setTip(null), []);
  /** The cell of the tooltip has moved, has changed, or is gone. */
  const follow = () => {
    if (tip) show(tipOf(/** @type {HTMLElement | null} */ (root.current?.querySelector(`[data-cell="${CSS.escape(tip.cell)}"]`)), tip.byFocus));
  };
  useLayoutEffect(follow);
  useEffect(() => {
    if (!tip) return undefined;
    // The focus itself scrolls, and the event comes later: the tooltip goes along, unless its cell has left the pointer.
    const onScroll = () => (tip.byFocus || cellOf(document.elementFromPoint(pointer.current.x, pointer.current.y))?.dataset.cell === tip.cell ? follow() : hide());
    addEventListener("scroll", onScroll, { capture: true, passive: true });
    return () => removeEventListener("scroll", onScroll, { capture: true });
  }, [tip, hide]);
  const handlers = {
    ref: root,
    /** @param {any} event */
    onPointerMove: (event) => {
      // A browser also sends this when the page moves below a pointer that rests; it must not take the tooltip from the focus.
      if (tip?.byFocus && !event.movementX && !event.movementY) return;
      pointer.current = { x: event.clientX, y: event.clientY };
      show(tipOf(cellOf(event.target), false));
    },
    onPointerLeave: () => setTip((before) => (before?.byFocus ? before : null)),
    /** @param {any} event */
    onFocus: (event) => {
      const cell = cellOf(event.target);
      if (cell?.dataset.cell) setActive(cell.dataset.cell);
      if (cell?.matches(":focus-visible")) show(tipOf(cell, true));
    },
    onBlur: hide,
    /** @param {any} event */
    onClick: (event) => {
      const key = cellOf(event.target)?.dataset.cell;
      if (!key) return;
      hide();
      if (onToggle && (event.shiftKey || event.ctrlKey || event.metaKey)) onToggle(key);
      else onOpen(key);
    },
    /** @param {any} event */
    onKeyDown: (event) => {
      const cell = cellOf(event.target);
      if (!cell || !root.current || event.altKey || event.ctrlKey || event.metaKey) return;
      const key = cell.dataset.cell ?? "";
      if (MOVES.has(event.key)) neighbour(root.current, cell, event.key)?.focus();
      else if (event.key === "Enter") onOpen(key);
      else if (event.key === " ") (onToggle ?? onOpen)(key);
      else if (event.key === "Escape" && tip) hide();
      else return;
      event.preventDefault();
      event.stopPropagation(); // Airflow has shortcuts of its own
    },
  };
  /** @param {string} key */
  const tabIndexOf = (key) => (key === stop ? 0 : -1);
  return { handlers, tabIndexOf, tip: tip && h(Tip, tip) };
}

/** @param {Tooltip} props */
function Tip({ text, x, y, below }) {
  const [head, ...rest] = text.split("\n");
  const left = Math.min(Math.max(x, 200), innerWidth - 200);
  return h(
    C.Portal,
    null,
    h("div", { role: "tooltip", className: "pp-tip", style: { left, top: y, transform: `translate(-50%, ${below ? "0" : "-100%"})` } },
      h("b", null, head), rest.length ? `\n${rest.join("\n")}` : null),
  );
}
