// Instants as local time, always with the zone's abbreviation, and durations as text.

/** @typedef {{start: string, end: string}} Span */

/** @type {Map<string, Intl.DateTimeFormat[]>} */
const formatters = new Map();

// No locale knows every zone's abbreviation ("GMT+1" instead of "CET"); the first that knows one is used.
const LOCALES = ["en-US", "en-GB", "en-AU", "en-CA", "en-NZ", "en-IN", "en-ZA"];

/** @param {string} zone */
function formattersOf(zone) {
  let found = formatters.get(zone);
  if (!found) {
    found = LOCALES.map((locale) => new Intl.DateTimeFormat(locale, {
      timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
    }));
    formatters.set(zone, found);
  }
  return found;
}

/** @param {string} zone */
export function isZone(zone) {
  try {
    formattersOf(zone);
    return true;
  } catch {
    return false;
  }
}

/** @type {Map<string, {date: string, clock: string, zone: string}>} */
const known = new Map();

/**
 * The local date, clock time (with seconds only if there are any) and abbreviation of an instant.
 * @param {string} instant
 * @param {string} zone
 */
export function local(instant, zone) {
  const key = `${instant} ${zone}`;
  let found = known.get(key);
  if (!found) {
    const [first, ...others] = formattersOf(zone);
    const moment = new Date(instant);
    const part = Object.fromEntries(first.formatToParts(moment).map((one) => [one.type, one.value]));
    let name = part.timeZoneName ?? zone;
    for (const other of others) {
      if (!/^GMT[+-]/.test(name)) break;
      name = other.formatToParts(moment).find((one) => one.type === "timeZoneName")?.value ?? name;
    }
    const seconds = part.second === "00" ? "" : `:${part.second}`;
    found = { date: `${part.year}-${part.month}-${part.day}`, clock: `${part.hour}:${part.minute}${seconds}`, zone: name };
    if (known.size > 20_000) known.clear();
    known.set(key, found);
  }
  return found;
}

/**
 * `2013-11-03 01:00 EDT`.
 * @param {string} instant
 * @param {string} zone
 */
export function moment(instant, zone) {
  const { date, clock, zone: name } = local(instant, zone);
  return `${date} ${clock} ${name}`;
}

/**
 * `01:00 EDT`.
 * @param {string} instant
 * @param {string} zone
 */
export function clock(instant, zone) {
  const { clock: text, zone: name } = local(instant, zone);
  return `${text} ${name}`;
}

/**
 * `2013-11-04 10:00–12:00 EST`; both abbreviations where they differ, the end of the day as 24:00.
 * @param {Span} span
 * @param {string} zone
 */
export function span(span, zone) {
  const start = local(span.start, zone);
  return `${start.date} ${spanOfDay(span, zone)}`;
}

/**
 * `10:00–12:00 EST`, without the date of its start; `20:00 – 2013-11-05 02:00 EST` where it ends on another.
 * @param {Span} span
 * @param {string} zone
 */
export function spanOfDay(span, zone) {
  const start = local(span.start, zone);
  const end = local(span.end, zone);
  const last = end.date === start.date ? end : local(new Date(Date.parse(span.end) - 1).toISOString(), zone);
  const whole = last !== end && last.date === start.date; // the clock may skip the midnight after it
  const till = whole ? "–24:00" : end.date === start.date ? `–${end.clock}` : ` – ${end.date} ${end.clock}`;
  const endZone = whole ? last.zone : end.zone;
  return `${start.clock}${start.zone === endZone ? "" : ` ${start.zone}`}${till} ${endZone}`;
}

/**
 * @param {string} day
 * @param {number} by
 */
export function shiftDay(day, by) {
  const moment = new Date(`${day}T00:00:00Z`);
  moment.setUTCDate(moment.getUTCDate() + by);
  return moment.toISOString().slice(0, 10);
}

const WEEKDAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** 0 is Monday. @param {string} day */
export function weekday(day) {
  return (new Date(`${day}T00:00:00Z`).getUTCDay() + 6) % 7;
}

/** `Sunday 2013-11-03`. @param {string} day */
export function dayText(day) {
  return `${WEEKDAYS[new Date(`${day}T00:00:00Z`).getUTCDay()]} ${day}`;
}

/** `Sun 3 Nov`. @param {string} day */
export function shortDay(day) {
  const moment = new Date(`${day}T00:00:00Z`);
  return `${WEEKDAYS[moment.getUTCDay()].slice(0, 3)} ${moment.getUTCDate()} ${MONTHS[moment.getUTCMonth()]}`;
}

/** @param {string} day */
export function monthOf(day) {
  return MONTHS[Number(day.slice(5, 7)) - 1];
}

/**
 * `3 d 4 h`, `2 h 5 min`, `40 s`: the two largest units.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds > 0 && seconds < 1) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const units = /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]);
  const at = units.findIndex(([size]) => whole >= size);
  if (at < 0) return "0 s";
  const [size, unit] = units[at];
  const big = `${Math.floor(whole / size)} ${unit}`;
  const next = units[at + 1];
  const rest = next ? Math.floor((whole % size) / next[0]) : 0;
  return rest ? `${big} ${rest} ${next[1]}` : big;
}

/**
 * @param {string} from
 * @param {string} to
 */
export function secondsBetween(from, to) {
  return (Date.parse(to) - Date.parse(from)) / 1000;
}

/**
 * `3 min ago`, `in 2 h`, seen from `at`.
 * @param {string} instant
 * @param {string} at
 */
export function ago(instant, at) {
  const seconds = secondsBetween(instant, at);
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

const numbers = new Intl.NumberFormat("en-US");

/** @param {number} number */
export function count(number) {
  return numbers.format(number);
}

/**
 * `1 row`, `2 rows`.
 * @param {number} number
 * @param {string} noun
 */
export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** @param {number} bytes */
export function size(bytes) {
  let rest = bytes;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (rest < 1000) return `${unit === "B" ? rest : rest.toFixed(1)} ${unit}`;
    rest /= 1000;
  }
  return `${rest.toFixed(1)} TB`;
}

/** The instant without its fraction of a second. @param {string} instant */
export const second = (instant) => `${instant.slice(0, 19)}Z`;

/** The zone that is chosen in Airflow's own interface. */
export function interfaceZone() {
  try {
    const chosen = JSON.parse(localStorage.getItem("timezone") ?? "null");
    return typeof chosen === "string" && isZone(chosen) ? chosen : "UTC";
  } catch {
    return "UTC";
  }
}
