/** The view that `/` opens with: what the person saved in this browser, until people have accounts. */
import { EVERYTHING, isEverything, parseChoice, sameFilter, type Choice } from "./choice";
import { overviewPath } from "./routes";

const KEY = "gradvitals-overview";

class DefaultView {
  /** Everything where nothing is saved. */
  choice = $state.raw<Choice>(stored());

  get isSaved(): boolean {
    return !isEverything(this.choice);
  }

  is(choice: Choice): boolean {
    return sameFilter(choice, this.choice) && choice.by === this.choice.by;
  }

  /** Saving the view of everything is having none. */
  save(choice: Choice): void {
    this.choice = choice;
    try {
      if (isEverything(choice)) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, overviewPath(choice).slice(1));
    } catch {
      // storage is blocked: it lasts until the page is closed
    }
  }

  /** The address of a choice: `/` alone would open the saved one. */
  path(choice: Choice): string {
    return overviewPath(choice, this.isSaved);
  }
}

function stored(): Choice {
  try {
    return parseChoice(new URLSearchParams(localStorage.getItem(KEY) ?? ""));
  } catch {
    return EVERYTHING;
  }
}

export const defaultView = new DefaultView();
