// Airflow imports this module once and takes its components from the globals that are named like the plugin's views.

import { h, Link, useSearchParams } from "./host.js";
import { Boundary } from "./parts.js";
import { PipelinePage } from "./pipeline.js";
import { PipelinesPage } from "./pipelines.js";

const STYLES = new URL("page.css", import.meta.url).href;
if (!document.querySelector(`link[href="${STYLES}"]`)) {
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: STYLES }));
}

/** The nav item: all pipelines, or one that has no page of its own in Airflow. */
function Pipelines() {
  const [params] = useSearchParams();
  const one = params.get("pipeline");
  if (one) {
    return h("div", { style: { padding: "0 16px" } }, h(PipelinePage, { dagId: one, key: one, heading: h(Link, { to: "/plugin/pipelines" }, "All pipelines") }));
  }
  return h(PipelinesPage, null);
}

/** The tab of a DAG. @param {{dagId?: string}} props */
const Windows = ({ dagId = "" }) => h(PipelinePage, { dagId, key: dagId });

/** @param {any} view */
const bounded = (view) => (/** @type {any} */ props) => h(Boundary, null, h(view, props));

Object.assign(globalThis, { AirflowPlugin: bounded(Windows), Pipelines: bounded(Pipelines), Windows: bounded(Windows) });
