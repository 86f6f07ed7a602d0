// Search where the site is opened from the disk: browsers start no worker there, so its script runs in a hidden frame.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.frame = frame.contentWindow
      addEventListener("message", (event) => {
        if (event.source !== this.frame) return
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        if (this.onmessage) this.onmessage(message)
      })
      this.frame.started = () => {
        const waiting = this.waiting
        this.waiting = null
        waiting.forEach((data) => this.postMessage(data))
      }
      const page = frame.contentDocument
      page.open()
      page.write(`<!doctype html><script>
        self.postMessage = (data) => parent.postMessage(data, "*")
        self.importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((done, failed) => {
          const script = document.createElement("script")
          Object.assign(script, { src: url, onload: done, onerror: failed })
          document.head.append(script)
        })), Promise.resolve())
      <\/script><script src="${url}" onload="started()"><\/script>`)
      page.close()
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.frame.dispatchEvent(new MessageEvent("message", { data }))
    }
  }
}
