// Airflow 3.2 and later set these globals for plugins: its own React, ChakraUI and router, one copy each.

const host = /** @type {any} */ (globalThis);

/** @type {typeof import("react")} */
export const React = host.React;
export const { createElement: h, Fragment, useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } = React;
export const C = host.ChakraUI;
export const { Link, useNavigate, useSearchParams } = host.ReactRouterDOM;
