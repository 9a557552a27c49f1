// What is asked of the server. Nothing is asked of anybody else.

/** What the server refused: its message is the reason. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const GONE = "The server has stopped. Start it again with python -m fer_demo.web";

/** Return what the server says at an address, as JSON or, if it is a picture, as a Blob. */
async function ask(address, options) {
  const answer = await fetch(address, options).catch(() => { throw new Refused(0, GONE); });
  if (answer.headers.get("content-type")?.startsWith("image/")) return answer.blob();
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(answer.status, String(said.detail ?? answer.statusText));
  return said;
}

export const about = () => ask("about");
export const drawnFaces = (seed) => ask(`drawn.jpg?seed=${seed}`);
export const findFaces = (jpeg) =>
  ask("faces", { method: "POST", body: jpeg, headers: { "Content-Type": "image/jpeg" } });
export const look = (pixels) => ask("look", { method: "POST", body: pixels });

/** Sends the frames of one film, each when the one before it has been answered; the server tells its faces apart. */
export class Film {
  #socket = null;
  #answered = null;

  /** Return the answer to a frame, having connected if that is needed. */
  async ask(jpeg) {
    this.#socket ??= await this.#connect();
    const answer = new Promise((resolve, reject) => { this.#answered = { resolve, reject }; });
    this.#socket.send(jpeg);
    const said = await answer;
    if (said.status) throw new Refused(said.status, said.detail);
    return said;
  }

  close() {
    this.#socket?.close();
  }

  #connect() {
    const socket = new WebSocket(`ws://${location.host}/live`);
    socket.onmessage = ({ data }) => this.#answered.resolve(JSON.parse(data));
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve(socket);
      socket.onclose = () => {
        this.#socket = null;
        const gone = new Refused(0, GONE);
        reject(gone);
        this.#answered?.reject(gone);
      };
    });
  }
}
