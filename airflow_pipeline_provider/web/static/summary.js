// The line of facts that a person on call asks for first.

import { h } from "./host.js";
import { When } from "./parts.js";
import { Icon } from "./states.js";
import { ago, clock, dayText, duration, moment, second } from "./time.js";

/** @param {{name: string, icon: string, value: any, more?: any}} props */
const Chip = ({ name, icon, value, more }) =>
  h("li", { className: "pp-chip" }, h("span", { className: "pp-chip-name" }, name), h("span", { className: "pp-chip-value" }, h(Icon, { state: icon }), value), more ? h("span", { className: "pp-chip-more" }, more) : null);

/**
 * When a pipeline has caught up, or why that is not known.
 * @param {{at: string | null, reason: string | null} | null | undefined} eta
 * @param {string} zone
 */
export function etaText(eta, zone) {
  if (eta?.at) return `caught up about ${moment(`${eta.at.slice(0, 16)}:00Z`, zone)}`;
  return eta?.reason ?? "";
}

/**
 * How far behind a pipeline is. One that is not behind may need a look nevertheless: a day has drifted, or is too old.
 * @param {{behind_seconds?: number | null, caught_up?: boolean, problem?: import("./contract.js").Problem | null}} one
 */
export function behindText({ behind_seconds: behind, caught_up: done, problem }) {
  if (behind) return duration(behind);
  return done ? "caught up" : problem ? "stopped" : "needs a look";
}

/** @param {{page: import("./contract.js").Pipeline, zone: string}} props */
export function Summary({ page, zone }) {
  const { behind_seconds: behind, leases, next, next_clock_change: change, facts, at } = page;
  const review = page.days_to_review;
  const ended = facts.end_day && page.days.length && page.days[page.days.length - 1].day >= facts.end_day;
  const lease = leases[0];
  return h("ul", { className: "pp-chips", "aria-label": "Summary" },
    h(Chip, { name: "Behind", icon: behind > 0 ? "too_old" : page.caught_up ? "complete" : "missing", value: behindText(page), more: behind > 0 ? etaText(page.eta, zone) : null }),
    h(Chip, { name: "Days that need a look", icon: review ? "missing" : "complete", value: review ? String(review) : "none" }),
    lease
      ? h(Chip, { name: leases.length === 1 ? "Held" : `${leases.length} windows held, the first`, icon: "running", value: h(When, { of: lease.window, zone }), more: `by ${lease.run_id ?? lease.holder ?? "an unknown holder"}, last sign of life ${ago(second(lease.seen ?? lease.since), second(at))}` })
      : h(Chip, { name: "Held", icon: "waived", value: "no window", more: "no run is moving anything" }),
    next?.window ? h(Chip, { name: "Next window", icon: "not_settled", value: h(When, { of: next.window, zone }), more: next.ready_at ? (next.ready_at <= at ? "ready now" : `ready ${ago(second(next.ready_at), second(at))}, at ${clock(second(next.ready_at), zone)}`) : null }) : null,
    ended ? h(Chip, { name: "Ended", icon: "complete", value: `last day ${facts.end_day}`, more: "end_day is reached; no later day is planned" }) : null,
    change ? h(Chip, { name: "Next clock change", icon: "replaced", value: `${dayText(change.day)}`, more: `that day has ${change.hours} hours` }) : null);
}
