// before rendering: mark that scripts run, and restore the stored theme
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* a browser may refuse storage to files */ }
