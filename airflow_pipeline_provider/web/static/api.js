// Requests to the JSON API beside these files, and polling that rests while nobody looks.

import { useCallback, useEffect, useRef, useState } from "./host.js";

// …/airflow-pipelines/static/app.js → …/airflow-pipelines/api/: right below any base URL of Airflow
const ROOT = import.meta.url.slice(0, import.meta.url.lastIndexOf("/static/"));

export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   * @param {Record<string, any>} body
   */
  constructor(status, message, body = {}) {
    super(message);
    this.status = status;
    this.body = body;
  }
}

/**
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<any>}
 */
async function ask(path, options) {
  let response;
  try {
    response = await fetch(`${ROOT}/api/${path}`, { credentials: "same-origin", ...options });
  } catch (error) {
    if (options?.signal?.aborted) throw error;
    throw new ApiError(0, "Airflow's API server does not answer; the page asks again by itself.");
  }
  const text = await response.text();
  /** @type {any} */
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a proxy's page, not an answer of this API
  }
  if (response.ok) return body;
  const detail = typeof body.detail === "string" ? body.detail : `HTTP ${response.status} ${response.statusText}`.trim();
  throw new ApiError(response.status, detail, body);
}

/**
 * @param {string} path
 * @param {AbortSignal} [signal]
 */
export const get = (path, signal) => ask(path, { signal });

/**
 * The custom header cannot be sent by a form or a foreign page.
 * @param {string} path
 * @param {object} body
 */
export const post = (path, body) => ask(path, {
  method: "POST",
  headers: { "Content-Type": "application/json", "X-Airflow-Pipelines": "1" },
  body: JSON.stringify(body),
});

/** @param {string} dagId */
export const pipelinePath = (dagId) => `pipelines/${encodeURIComponent(dagId)}`;

/** @param {Record<string, string | number | null | undefined>} values */
export function query(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `?${new URLSearchParams(kept.map(([key, value]) => [key, String(value)]))}` : "";
}

const BUSY = 10_000;
const QUIET = 60_000;

/**
 * Read a path now, then every 10 seconds while `isBusy`, else every minute, and only while the page is visible.
 *
 * The last good answer stays when a later request fails, with the error beside it; a null path reads nothing.
 * @template T
 * @param {string | null} path
 * @param {(answer: T) => boolean} [isBusy]
 * @returns {{answer: T | null, error: ApiError | null, loading: boolean, again: () => void}}
 */
export function usePolled(path, isBusy) {
  const [state, setState] = useState(/** @type {{path: string | null, answer: any, error: any}} */ ({ path: null, answer: null, error: null }));
  const [round, setRound] = useState(0);
  const busy = useRef(isBusy);
  busy.current = isBusy;
  useEffect(() => {
    if (path === null) return undefined;
    const aborter = new AbortController();
    /** @type {any} */
    let timer = null;
    let last = 0;
    let wait = QUIET;
    const read = async () => {
      timer = null;
      last = Date.now();
      try {
        const answer = await get(path, aborter.signal);
        wait = busy.current?.(answer) ? BUSY : QUIET;
        setState({ path, answer, error: null });
      } catch (error) {
        if (aborter.signal.aborted) return;
        wait = error instanceof ApiError && error.status === 404 ? QUIET : BUSY;
        setState((before) => ({ path, answer: before.path === path ? before.answer : null, error }));
      }
      plan();
    };
    const plan = () => {
      if (timer !== null) clearTimeout(timer);
      timer = document.hidden || aborter.signal.aborted ? null : setTimeout(read, Math.max(0, last + wait - Date.now()));
    };
    const onVisible = () => {
      if (last) plan();
    };
    document.addEventListener("visibilitychange", onVisible);
    read();
    return () => {
      document.removeEventListener("visibilitychange", onVisible);
      clearTimeout(timer);
      aborter.abort();
    };
  }, [path, round]);
  const again = useCallback(() => setRound((before) => before + 1), []);
  const own = state.path === path;
  return { answer: own ? state.answer : null, error: own ? state.error : null, loading: path !== null && !own, again };
}
