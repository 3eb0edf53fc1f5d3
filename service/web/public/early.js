// Runs while the scripts are still on their way: puts the theme in place, and asks for what the first view will show.
try {
  // src/lib/theme.svelte.ts owns the choice
  const theme = localStorage.getItem("gradvitals-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  // src/lib/early.ts hands the answer over; a saved view (src/lib/default-view.svelte.ts) asks another question
  if (location.pathname + location.search === "/" && !localStorage.getItem("gradvitals-overview")) {
    const path = "/api/v1/dashboard?limit=20";
    const answer = fetch(path, { headers: { Accept: "application/json" } });
    answer.catch(() => {}); // whoever takes it hears of it
    window.early = { path, askedAt: Date.now(), answer };
  }
} catch {
  // storage is blocked: the system's theme stays, and nothing is asked early
}
