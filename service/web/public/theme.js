// Runs before the first paint. src/lib/theme.svelte.ts owns the choice; here it is only put in place.
try {
  const theme = localStorage.getItem("gradvitals-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // storage is blocked: the system's choice stays
}
