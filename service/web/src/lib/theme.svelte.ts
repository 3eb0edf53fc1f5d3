/** Light or dark: as the system says, until the person chooses; the choice is kept in this browser. */

export type Theme = "auto" | "light" | "dark";

const KEY = "gradvitals-theme";
const ORDER: readonly Theme[] = ["auto", "light", "dark"];

class ThemeChoice {
  choice = $state<Theme>(stored());
  /** Changes whenever colours on the screen change: a canvas must be drawn again then. */
  revision = $state(0);

  constructor() {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.revision++);
  }

  cycle(): void {
    this.choice = ORDER[(ORDER.indexOf(this.choice) + 1) % ORDER.length] ?? "auto";
    const root = document.documentElement;
    if (this.choice === "auto") delete root.dataset["theme"];
    else root.dataset["theme"] = this.choice;
    this.revision++;
    try {
      localStorage.setItem(KEY, this.choice);
    } catch {
      // storage is blocked: the choice lasts until the page is closed
    }
  }
}

function stored(): Theme {
  const theme = document.documentElement.dataset["theme"];
  return theme === "light" || theme === "dark" ? theme : "auto";
}

export const theme = new ThemeChoice();
