// before anything is drawn: that scripts run, and the theme that was chosen last time
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch { /* a browser may refuse storage to files */ }
