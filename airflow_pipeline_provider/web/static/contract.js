// Types of the JSON API's answers; docs/reference has the API itself.

/** @typedef {"complete" | "replaced" | "running" | "ready" | "not_settled" | "missing" | "failed" | "blocked" | "unverified" | "drifted" | "waived" | "too_old"} State */

/** @typedef {{day: string, start: string, end: string, local_start?: string, local_end?: string, abbreviation?: string}} Interval */

/** @typedef {{window: Interval, holder?: string, run_dag_id?: string | null, run_id?: string | null, since: string, until: string, seen?: string | null}} Lease */

/** @typedef {{day: string, state: State, hours?: number, reason?: string, rows?: number | null, source?: number | null, staged?: number | null, target?: number | null, distinct?: number | null, equal?: boolean | null}} Day */

/** @typedef {{kind: "file" | "state" | "gone", file?: string | null, line?: number | null, message: string, since?: string | null, conn_id?: string | null}} Problem */

/**
 * @typedef {{dag_id: string | null, pipeline_id: string, timezone: string | null, tags?: string[], paused?: boolean | null, state: State | null,
 *   reason?: string, behind_seconds?: number | null, caught_up?: boolean, eta?: {at: string | null, reason: string | null} | null, days?: Day[],
 *   leases?: Lease[], next?: {window: Interval | null, ready_at: string | null} | null, unexpected?: string[], problem?: Problem | null}} PipelineRow
 */

/** @typedef {Interval & {what: "late" | "empty" | "few" | "many", sentence: string}} Miss */

/** @typedef {{at: string, total: number, pipelines: PipelineRow[], states?: Record<string, number>, tags?: string[]}} Pipelines */

/** @typedef {true | string} Permission */

/**
 * @typedef {{at: string, facts: Record<string, any>, behind_seconds: number, caught_up?: boolean, never_ran?: boolean, target_day?: string, eta?: {at: string | null, reason: string | null} | null,
 *   leases: Lease[], next?: {window: Interval | null, ready_at: string | null}, continuation?: string | null,
 *   days_to_review: number, first_day?: string | null, next_clock_change?: {day: string, hours: number, at: string} | null, unexpected?: Miss[], days: Day[],
 *   may?: Record<string, boolean | string>, commands?: {purpose: string, command: string}[], problem?: Problem | null}} Pipeline
 */

/**
 * @typedef {{window: Interval, state: State | null, replaced?: number, reason?: string, rows?: number | null, failures?: number,
 *   max_attempts?: number, repeated_hour?: boolean, windows?: number, drift?: "grew" | "changed" | "shrank" | null, unexpected?: string | null}} Window
 */

/** @typedef {{window: Interval, effective: Interval[], rows?: number | null, token?: number | null}} Commit */

/** @typedef {{day: string, hours: number, start: string, end: string, windows: Window[], commits?: Commit[]}} Lane */

/** @typedef {{at: string, days: Lane[]}} Lanes */

/** @typedef {Interval & {seconds: number, days?: number, reason: string, detail?: string, failures?: number, ready?: boolean}} Gap */

/** @typedef {{day: string, state: State, reason: string}} ChangedDay */
/** @typedef {{at: string, total?: number, gaps: Gap[], total_changed?: number, changed_days?: ChangedDay[]}} Gaps */

/**
 * @typedef {{kind: string, at: string, token?: number | null, rows?: number | null, manifest?: string | null, run?: string | null,
 *   detail?: Record<string, any>}} Entry
 */

/**
 * @typedef {{attempt: string | null, token?: number | null, run?: string | null, run_dag_id?: string | null, run_state?: string | null, run_id?: string | null, run_exists?: boolean | null,
 *   task?: string | null, map_index?: number | null, try_number?: number | null, state: string, started?: string | null, ended?: string | null, seconds?: number | null,
 *   entries?: Entry[], error?: any}} Attempt
 */

/**
 * @typedef {{at: string, window: Interval, window_id: string, state: State | null, reason?: string, drift?: string | null, failures?: number, max_attempts?: number, replaced?: number, waivers?: Record<string, any>[],
 *   attempts: Attempt[], counts?: Record<string, number | null> | null, manifest?: Record<string, any> | null, goes?: number | null, unexpected?: string[],
 *   checks?: Record<string, any>[], quarantine?: Record<string, any> | null, fields?: Record<string, any> | null,
 *   by_hand?: Record<string, any>[], command: string}} WindowDetail
 */

/**
 * @typedef {{at: string, windows: {window: Interval, state: State, rows?: number | null, chosen: boolean,
 *   will: "move" | "replace" | "skip", why?: string}[], estimate_seconds?: number | null, seconds_per_hour?: number | null, left_out?: number, followers?: {window: number, day: number},
 *   command: string}} Preview
 */

export {};
