// Lets a form speak with a security key: the options stand beside the button, the answer goes into the form. Without this
// script, or without a key, the rest of the page still works.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (mark) => mark.charCodeAt(0));
const words = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function ask(options, creating) {
  options.challenge = bytes(options.challenge);
  if (creating) {
    options.user.id = bytes(options.user.id);
    const made = await navigator.credentials.create({ publicKey: options });
    return {
      id: made.id, rawId: made.id, type: made.type,
      response: { clientDataJSON: words(made.response.clientDataJSON), attestationObject: words(made.response.attestationObject) },
    };
  }
  const shown = await navigator.credentials.get({ publicKey: options });
  return {
    id: shown.id, rawId: shown.id, type: shown.type,
    response: {
      clientDataJSON: words(shown.response.clientDataJSON), authenticatorData: words(shown.response.authenticatorData),
      signature: words(shown.response.signature),
      userHandle: shown.response.userHandle ? words(shown.response.userHandle) : null,
    },
  };
}

for (const form of document.querySelectorAll("form[data-options]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    const failed = form.querySelector("[data-failed]");
    failed.hidden = true;
    try {
      const options = JSON.parse(form.dataset.options);
      form.elements.credential.value = JSON.stringify(await ask(options, "user" in options));
      form.submit();
    } catch {
      failed.hidden = false;
    }
  });
}
