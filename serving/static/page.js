// The page works without this: it adds the slider over published days, and shows that a page is on its way.
for (const form of document.querySelectorAll("form.as-of")) {
  const days = form.dataset.days.split(" ");
  const slider = form.querySelector(".slider"), date = form.querySelector("#as_of");
  const nearest = days.filter((day) => day <= date.value).length - 1;
  slider.hidden = days.length < 2;
  slider.value = Math.max(0, nearest);
  slider.setAttribute("aria-valuetext", date.value);
  slider.addEventListener("input", () => {
    date.value = days[slider.value];
    slider.setAttribute("aria-valuetext", date.value);
  });
  slider.addEventListener("change", () => form.requestSubmit());
}
const busy = () => document.documentElement.classList.add("busy");
addEventListener("submit", busy);
addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) busy();
});
addEventListener("pageshow", () => document.documentElement.classList.remove("busy"));
