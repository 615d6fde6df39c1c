// How the page asks its server: with the reader's key, and errors as the API says them.

/** An answer that is none: its status, and what the API says of it. */
export class ServerError extends Error {
  constructor(status, { message, code } = {}, retryAfter = null) {
    super(message ?? `the server answered with status ${status}`);
    Object.assign(this, { status, code, retryAfter });
  }

  /** One line for a person. */
  get line() {
    const again = this.retryAfter ? ` (try again in ${this.retryAfter} s)` : "";
    return `${this.status}${this.code ? ` (${this.code})` : ""}: ${this.message}${again}`;
  }
}

export class Server {
  static storage = "apus-key";

  // True once the reader closed the question for a key: only what the reader does asks again.
  isDeclined = false;
  #question = null;

  /** `askReader(reason)` resolves to a key, or to null. */
  constructor(askReader) { this.askReader = askReader; }

  get key() { return sessionStorage.getItem(Server.storage) ?? ""; }

  set key(key) {
    if (key) sessionStorage.setItem(Server.storage, key);
    else sessionStorage.removeItem(Server.storage);
  }

  /**
   * Sends a request, and once more when the reader gives a key for it: each may take so many
   * `seconds`. Paths are relative, so that the page works below a proxy's folder.
   */
  async ask(path, { body, signal, seconds, isQuiet = false } = {}) {
    for (;;) {
      const sent = this.key;
      const response = await fetch(path, {
        method: body ? "POST" : "GET", cache: "no-store", credentials: "omit", redirect: "error",
        signal: signal ?? (seconds ? AbortSignal.timeout(1000 * seconds) : undefined),
        headers: {
          ...(body ? { "Content-Type": "application/json" } : {}),
          ...(sent ? { Authorization: `Bearer ${sent}` } : {}),
        },
        body: body && JSON.stringify(body),
      });
      if (response.ok) return response;
      const error = await this.#error(response);
      if (error.status !== 401) throw error;
      // Another request may have asked for the key meanwhile.
      if (this.key !== sent) continue;
      if (isQuiet && this.isDeclined) throw error;
      if (!await this.askForKey(sent ? `The server refused the key: ${error.message}.`
        : "This server asks for an API key.")) throw error;
    }
  }

  /** Asks the reader once, however many requests need the key. Whether there is one now. */
  async askForKey(reason) {
    this.#question ??= this.askReader(reason).finally(() => { this.#question = null; });
    const key = await this.#question;
    this.isDeclined = key === null;
    if (key !== null) this.key = key;
    return key !== null;
  }

  async #error(response) {
    let error = {};
    try { error = (await response.json()).error ?? {}; } catch {
      // A proxy's answer is no JSON: its status has to do.
    }
    return new ServerError(response.status, error, response.headers.get("Retry-After"));
  }
}

/** What the events of a stream hold, parsed, up to `[DONE]`; comments are passed over. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("The stream ended before the answer did.");
      rest += value;
      const parts = rest.split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").filter((line) => line.startsWith("data: "))
          .map((line) => line.slice("data: ".length)).join("\n");
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
    }
  } finally {
    // Frees the connection of a stream that is not read to its end; one that was cut is free.
    reader.cancel().catch(() => {});
  }
}
