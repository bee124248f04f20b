//! A real Chromium without a screen, steered over its DevTools pipe. Runs in a namespace and ends with its value.

use crate::namespace::{Outcome, command_in};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Far longer than any answer takes, on a machine that does a dozen other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// The browser with one page.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    said: Receiver<Value>,
    session: Option<String>,
    next: u64,
    /// What pages threw or complained about.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts it in the namespace; its files are in `directory`.
    pub fn start(namespace: &str, directory: &Path) -> Outcome<Browser> {
        let failed = |error: std::io::Error| format!("chromium (Debian's package is needed): {error}");
        let log = File::create(directory.join("chromium.log")).map_err(failed)?;
        let profile = directory.join("chromium");
        // The pipe is descriptors 3 and 4. No sandbox: it is root's, and meets one page, ours.
        let script = "exec chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-dev-shm-usage \
                      --user-data-dir=\"$0\" --remote-debugging-pipe about:blank 3<&0 4>&1 </dev/null >/dev/null";
        let mut child = command_in(namespace, "sh")
            .args(["-c", script])
            .arg(&profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let to = child.stdin.take().ok_or("chromium has no input")?;
        let from = child.stdout.take().ok_or("chromium has no output")?;
        let (saying, said) = channel();
        // Ends with the browser, whose end of the pipe it reads.
        thread::spawn(move || {
            for message in BufReader::new(from).split(0).map_while(Result::ok) {
                let understood =
                    serde_json::from_slice(&message).is_ok_and(|value| saying.send(value).is_ok());
                if !understood {
                    return;
                }
            }
        });
        let mut browser = Browser { child, to, said, session: None, next: 0, complaints: Vec::new() };
        let target = browser.ask("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", &attach)?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.ask(domain, &json!({}))?;
        }
        Ok(browser)
    }

    /// One command of the DevTools protocol.
    pub fn ask(&mut self, method: &str, parameters: &Value) -> Outcome<Value> {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        write!(self.to, "{message}\0").map_err(|error| format!("chromium: {method}: {error}"))?;
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut said = self
                .said
                .recv_timeout(left)
                .map_err(|error| format!("chromium does not answer {method}: {error} (is it installed?)"))?;
            if said["id"] != self.next {
                self.listen(&said);
            } else if said["error"].is_null() {
                return Ok(said["result"].take());
            } else {
                return Err(format!("chromium refuses {method}: {}", said["error"]));
            }
        }
    }

    fn listen(&mut self, said: &Value) {
        let complaint = match said["method"].as_str() {
            Some("Runtime.exceptionThrown") => said["params"]["exceptionDetails"].to_string(),
            Some("Log.entryAdded") => said["params"]["entry"].to_string(),
            _ => return,
        };
        self.complaints.push(complaint);
    }

    /// Goes to a page; it loads on.
    pub fn open(&mut self, address: &str) -> Outcome<()> {
        let gone = self.ask("Page.navigate", &json!({"url": address}))?;
        match gone["errorText"].as_str() {
            Some(error) => Err(format!("{address}: {error}")),
            None => Ok(()),
        }
    }

    /// What a script on the page comes to, once its promise is kept.
    pub fn run(&mut self, script: &str) -> Outcome<Value> {
        let parameters = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let mut done = self.ask("Runtime.evaluate", &parameters)?;
        if done["exceptionDetails"].is_null() {
            Ok(done["result"]["value"].take())
        } else {
            Err(format!("the page's script failed: {}", done["exceptionDetails"]))
        }
    }

    /// A window of that size, for somebody who likes it dark or light; on a phone below 500 columns.
    pub fn look(&mut self, width: u32, height: u32, dark: bool) -> Outcome<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": width < 500, "screenWidth": width, "screenHeight": height});
        self.ask("Emulation.setDeviceMetricsOverride", &size)?;
        let scheme = if dark { "dark" } else { "light" };
        let likes = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", &likes).map(drop)
    }

    /// A picture of the whole page.
    pub fn photograph(&mut self, file: &Path) -> Outcome<()> {
        let parameters = json!({"format": "png", "captureBeyondViewport": true});
        let taken = self.ask("Page.captureScreenshot", &parameters)?;
        let bytes = base64(taken["data"].as_str().unwrap_or_default())?;
        if bytes.len() < 10_000 {
            return Err(format!("{}: a picture of {} bytes shows nothing", file.display(), bytes.len()));
        }
        std::fs::write(file, bytes).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn base64(text: &str) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err("the picture is not base64".to_owned()),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn pictures_are_unpacked() {
        let unpacked = |text| base64(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba")]
        {
            assert_eq!(unpacked(text), Ok(bytes.to_owned()));
        }
        assert!(base64("Zm9v!").is_err());
    }
}
