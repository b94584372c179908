/* The choice between several flame graphs: one is shown, the others are hidden. */
(() => {
  'use strict';
  const choice = document.getElementById('flame-choice');
  if (!choice) return;
  const show = () => {
    for (const panel of document.querySelectorAll('[data-panel]')) panel.hidden = panel.dataset.panel !== choice.value;
  };
  choice.closest('[hidden]').hidden = false;
  choice.addEventListener('change', show);
  show();
})();
