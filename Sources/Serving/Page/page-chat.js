// A conversation with the model, or texts that it completes where it has no form of chats. What a
// model writes goes into text nodes, and nowhere else.

import { duration, element, figure, find, say } from "./page-draw.js";
import { ServerError, events } from "./page-server.js";

export class Chat {
  #messages = [];
  #abort = null;
  // Completes texts instead.
  #isPlain = false;

  constructor(server) {
    this.server = server;
    this.model = "";
    this.log = find("conversation");
    this.input = find("chat-input");
    find("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.input.addEventListener("keydown", (event) => {
      // An input method's Enter chooses a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    find("chat").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
    });
    find("chat-stop").addEventListener("click", () => this.stop());
    find("chat-clear").addEventListener("click", () => this.clear());
    this.#invite();
  }

  /** Learns the model's name, and whether it has a form of chats. */
  async learn() {
    const list = await (await this.server.ask("v1/models")).json();
    const model = list.data[0];
    say(find("model"), `${model.id}, ${figure(model.max_model_len)} tokens of context`);
    document.title = `${model.id} · Apus`;
    try {
      await this.server.ask(
        "tokenize", { body: { messages: [{ role: "user", content: "x" }] } });
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
      if (error.code === "chat_template_unknown") this.#completeTexts(error.message);
    }
    this.model = model.id;
  }

  #completeTexts(reason) {
    this.#isPlain = true;
    const note = find("chat-note");
    note.hidden = false;
    say(note, `This model has no form of chats that the server knows, so it completes texts. `
      + `The server says: ${reason}.`);
    say(find("chat-label"), "Text to complete");
    say(find("chat-clear"), "Clear");
    find("chat-system").disabled = true;
    this.#invite();
  }

  #invite() {
    this.log.dataset.empty = this.#isPlain
      ? "Write the beginning of a text." : "Write a message to the model.";
  }

  stop() { this.#abort?.abort(); }

  clear() {
    this.stop();
    this.#messages = [];
    this.log.replaceChildren();
    say(find("chat-status"), "");
    this.input.focus();
  }

  /** Sends what was written, and shows the answer as it comes. */
  async send() {
    const text = this.input.value;
    if (this.#abort || text.trim() === "") return;
    const messages = this.#messages;
    const question = { role: "user", content: text };
    this.input.value = "";
    const asked = this.#isPlain ? null : this.#article("You", text);
    const answer = new Answer(this.log, this.model || "Model", this.#isPlain ? text : "");
    this.#begin();
    const abort = this.#abort;
    let fault = null;
    try {
      const response = await this.server.ask(
        this.#isPlain ? "v1/completions" : "v1/chat/completions",
        { body: this.#body(text, [...messages, question]), signal: abort.signal });
      for await (const event of events(response)) answer.take(event);
    } catch (error) {
      if (!abort.signal.aborted) fault = error;
    }
    // Else a new chat began meanwhile, and this one is gone.
    const isHere = messages === this.#messages;
    if (isHere) {
      if (answer.text || answer.thought) {
        messages.push(question, { role: "assistant", content: answer.text });
      } else {
        asked?.remove();
        this.input.value ||= text;
      }
    }
    answer.end(fault, abort.signal.aborted);
    this.#finish(!isHere ? "" : fault ? "The answer failed."
      : abort.signal.aborted ? `Stopped. ${answer.figures}` : `Complete. ${answer.figures}`);
  }

  #body(text, messages) {
    const body = {
      stream: true, stream_options: { include_usage: true },
      ...(this.model ? { model: this.model } : {}),
      ...setting("temperature", "chat-temperature"), ...setting("max_tokens", "chat-tokens"),
    };
    if (this.#isPlain) return { ...body, prompt: text };
    const system = find("chat-system").value;
    return {
      ...body,
      messages: system.trim() ? [{ role: "system", content: system }, ...messages] : messages,
    };
  }

  #begin() {
    this.#abort = new AbortController();
    this.log.setAttribute("aria-busy", "true");
    // A button that is disabled loses the focus, and Escape with it.
    if (document.activeElement === find("chat-send")) this.input.focus();
    find("chat-send").disabled = true;
    find("chat-stop").disabled = false;
    say(find("chat-status"), "Answering.");
  }

  #finish(words) {
    this.#abort = null;
    this.log.setAttribute("aria-busy", "false");
    find("chat-send").disabled = false;
    if (document.activeElement === find("chat-stop")) this.input.focus();
    find("chat-stop").disabled = true;
    say(find("chat-status"), words);
  }

  #article(who, text) {
    const article = element("article", {}, element("h3", {}, who),
      element("div", { class: "text" }, text));
    this.log.append(article);
    this.log.scrollTop = this.log.scrollHeight;
    return article;
  }
}

/** A member of the request from a field; an empty field leaves it to the server. */
function setting(name, id) {
  const { value, valueAsNumber, validity } = find(id);
  // A word in a field of numbers goes to the API as nothing it takes, and the API says so.
  if (validity.badInput) return { [name]: "not a number" };
  return value === "" ? {} : { [name]: valueAsNumber };
}

/** One answer as it grows. */
class Answer {
  text = "";
  thought = "";
  #begun = performance.now();
  #first = null;
  #last = null;
  #usage = null;
  #reason = null;

  constructor(log, who, prompt) {
    this.log = log;
    this.body = element("div", { class: "text" });
    if (prompt) this.body.append(element("span", { class: "prompt" }, prompt));
    this.node = document.createTextNode("");
    this.body.append(this.node);
    this.article = element("article", {}, element("h3", {}, who), this.body);
    log.append(this.article);
    log.scrollTop = log.scrollHeight;
  }

  /** Takes a chunk of a chat or of a completion. */
  take(event) {
    if (event.error) throw new ServerError(event.error.status ?? "Error", event.error);
    this.#usage = event.usage ?? this.#usage;
    const choice = event.choices?.[0];
    if (!choice) return;
    this.#reason = choice.finish_reason ?? this.#reason;
    const thought = choice.delta?.reasoning_content ?? "";
    const text = choice.delta?.content ?? choice.text ?? "";
    if (!thought && !text) return;
    this.#last = performance.now();
    this.#first ??= this.#last;
    const follows = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    if (thought) this.#think(thought);
    if (text) {
      this.text += text;
      this.node.appendData(text);
    }
    if (follows) this.log.scrollTop = this.log.scrollHeight;
  }

  #think(text) {
    if (!this.thoughtNode) {
      this.thoughtNode = document.createTextNode("");
      this.body.before(element("details", { open: "" }, element("summary", {}, "Thought"),
        element("div", { class: "thought" }, this.thoughtNode)));
    }
    this.thought += text;
    this.thoughtNode.appendData(text);
  }

  /** How much and how fast. */
  get figures() {
    const tokens = this.#usage?.completion_tokens;
    if (this.#first === null) return "";
    const wait = `First token after ${duration((this.#first - this.#begun) / 1000)}`;
    if (!tokens) return `${wait}.`;
    const rate = (tokens - 1) / ((this.#last - this.#first) / 1000);
    return `${figure(tokens)} tokens, ${figure(rate)} tokens/s. ${wait}.`;
  }

  end(fault, isStopped) {
    if (fault) {
      const line = fault instanceof ServerError ? fault.line
        : fault instanceof TypeError ? `The server did not answer: ${fault.message}.`
        : fault.message;
      this.article.append(element("p", { class: "error", role: "alert" }, line));
    } else if (isStopped || this.#reason === "length") {
      this.article.append(element("p", { class: "small" },
        isStopped ? "Stopped by you." : "Ended by the limit of tokens."));
    }
    this.log.scrollTop = this.log.scrollHeight;
  }
}
