/** How every view takes a failure: who is not known logs in, what nobody waits for any more is none, the rest is told. */
import { ApiError, isAbort } from "./api";
import { router } from "./router.svelte";

/** Run what asks the service; true where it succeeded. What is not a failure of the service is a mistake, and thrown. */
export async function attempt(action: () => Promise<unknown>, tell: (error: ApiError) => void): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    if (isAbort(error)) return false;
    if (!(error instanceof ApiError)) throw error;
    if (error.kind === "unauthorized") router.go("/login", "replace");
    else tell(error);
    return false;
  }
}
