// The page with the lines to copy.

for (const button of document.querySelectorAll(".copy")) {
  // Only over HTTPS, or from this machine.
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    const line = button.closest("section").querySelector("code").textContent;
    await navigator.clipboard.writeText(line);
    button.textContent = texts.copied;
  });
}
