// The page of Airflow's nav item "Pipelines" and of the tab "Windows" of a DAG.
// Airflow sets React as a global, imports this module, and renders what it finds under the view's name.
const {createElement: h} = globalThis.React;

const Page = () => h("p", null, "");

globalThis.AirflowPlugin = Page;
globalThis.Pipelines = Page;
globalThis.Windows = Page;
