//! The built program over loopback: a feed and a directory of its own for each test, and processes that are waited for by
//! what they say, never by time.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use std::{env, fs, process, thread};

use serde_json::Value;

use super::{PATIENCE, feed};

const BOUND: Duration = Duration::from_nanos(PATIENCE.0);

/// A directory, removed at the end, and groups that no other test uses.
pub struct Bed {
    pub dir: PathBuf,
}

impl Bed {
    pub fn new(name: &'static str) -> Bed {
        let dir = env::temp_dir().join(format!("twinline-{name}-{}", process::id()));
        fs::create_dir_all(&dir).unwrap();
        Bed { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a feed file with two lines; `more` stands at its end.
    pub fn feed(&self, name: &str, framing: &str, more: &str) -> PathBuf {
        let text = feed::text(name, framing, &[("A", &[feed::group()]), ("B", &[feed::group()])]);
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, text + more).unwrap();
        path
    }

    /// Runs the program to its end.
    pub fn done(&self, arguments: &[&str]) -> Done {
        self.start(arguments).wait()
    }

    /// Starts the program in the directory, so that arguments may be file names in it.
    pub fn start(&self, arguments: &[&str]) -> Program {
        Program::start(Command::new(env!("CARGO_BIN_EXE_twinline")).args(arguments).current_dir(&self.dir))
    }

    /// The same where no file may grow beyond so many blocks of 512 bytes (of 1,024 in some shells): a full disk.
    pub fn start_on_full_disk(&self, blocks: u32, arguments: &[&str]) -> Program {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_twinline")]).args(arguments);
        Program::start(command.current_dir(&self.dir))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// What a process has said, as far as it has been read.
#[derive(Default)]
struct Said {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

/// A process whose stderr is read along; killed when the test fails.
pub struct Program {
    pub child: Child,
    said: Arc<Said>,
    stdout: Option<thread::JoinHandle<Vec<u8>>>,
}

/// How a process ended.
pub struct Done {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Done {
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Its standard output, a JSON object a line.
    pub fn json(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.stdout);
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    #[track_caller]
    pub fn fine(self) -> Done {
        assert_eq!(self.code(), 0, "{}", self.stderr);
        self
    }
}

impl Program {
    /// Starts it in the network namespace of the calling thread.
    pub fn start(command: &mut Command) -> Program {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Said::default());
        let (stderr, told) = (child.stderr.take().unwrap(), Arc::clone(&said));
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                told.lines.lock().unwrap().0.push(line.unwrap_or_default());
                told.more.notify_all();
            }
            told.lines.lock().unwrap().1 = true;
            told.more.notify_all();
        });
        Program { child, said, stdout: None }
    }

    /// Waits until a line with this text stands on its stderr; gives the line.
    #[track_caller]
    pub fn said(&self, text: &str) -> String {
        let found = |lines: &[String]| lines.iter().find(|line| line.contains(text)).cloned();
        let lines = self.said.lines.lock().unwrap();
        let (lines, _) =
            self.said.more.wait_timeout_while(lines, BOUND, |(lines, over)| found(lines).is_none() && !*over).unwrap();
        found(&lines.0).unwrap_or_else(|| panic!("{text:?} was not said:\n{}", lines.0.join("\n")))
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        let stdout = self.child.stdout.take();
        self.stdout = stdout.map(|mut out| {
            thread::spawn(move || {
                let mut all = Vec::new();
                let _ = out.read_to_end(&mut all);
                all
            })
        });
        let lines = self.said.lines.lock().unwrap();
        let (lines, late) = self.said.more.wait_timeout_while(lines, BOUND, |(_, over)| !*over).unwrap();
        let stderr = lines.0.join("\n");
        drop(lines);
        assert!(!late.timed_out(), "it goes on:\n{stderr}");
        let status = self.child.wait().unwrap();
        let stdout = self.stdout.take().map_or(Vec::new(), |thread| thread.join().unwrap());
        Done { status, stdout, stderr }
    }

    /// Ctrl-C, and the end.
    #[track_caller]
    pub fn interrupt(self) -> Done {
        self.signal("INT");
        self.wait()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fails where the files differ, and says where.
#[track_caller]
pub fn equal(a: &Path, b: &Path) {
    let (left, right) = (fs::read(a).unwrap(), fs::read(b).unwrap());
    let at = left.iter().zip(&right).position(|(a, b)| a != b).unwrap_or(left.len().min(right.len()));
    let (a, b) = (a.display(), b.display());
    assert!(left == right, "{a} ({} bytes) and {b} ({} bytes) differ from byte {at} on", left.len(), right.len());
}
