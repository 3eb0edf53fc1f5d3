/** The current view, kept in step with the address through the History API. */
import { parseRoute, type Route } from "./routes";

class Router {
  route = $state<Route>(current());

  constructor() {
    addEventListener("popstate", () => (this.route = current()));
    document.addEventListener("click", (event) => this.#follow(event));
  }

  go(path: string, how: "push" | "replace" = "push"): void {
    if (how === "push") history.pushState(null, "", path);
    else history.replaceState(null, "", path);
    const view = this.route.view;
    this.route = current();
    if (how === "push" && this.route.view !== view) scrollTo(0, 0);
  }

  /** Links of the page itself change the view; all others, and those with a modifier key, are the browser's. */
  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (link === null || link.origin !== location.origin || link.target !== "" || link.hasAttribute("download")) return;
    if (link.getAttribute("href")?.startsWith("#")) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }
}

function current(): Route {
  return parseRoute(location.pathname, location.search);
}

export const router = new Router();
