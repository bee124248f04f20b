use super::*;
use nix::sys::signal::{SigHandler, signal};
use nix::unistd::Pid;
use std::process::Command;

fn run_in(command: &str, limit: Duration) -> (Outcome, Vec<String>) {
    let bell = Doorbell::new().expect("eventfd");
    let mut lines = Vec::new();
    let outcome = run(command, &[("WORD", "spoken")], limit, &bell, |line| lines.push(line.to_owned()));
    (outcome.expect("the shell starts"), lines)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn exit_codes_and_output_come_back() {
    assert_eq!(run_in("true", LONG), (Outcome::Done, vec![]));
    let (outcome, lines) = run_in("echo one; echo $WORD >&2; printf three; exit 7", LONG);
    assert_eq!(outcome, Outcome::Failed(7));
    assert_eq!(lines, ["one", "spoken", "three"]);
    assert_eq!(run_in("kill -9 $$", LONG).0, Outcome::Killed(9));
}

#[test]
fn a_daemon_that_is_left_behind_is_not_waited_for() {
    let start = clock::now();
    let (outcome, lines) = run_in("sleep 3 & echo $!", LONG);
    assert_eq!(outcome, Outcome::Done);
    assert!(clock::now().since(start) < Duration::from_secs(2));
    let pid: i32 = lines[0].parse().expect("its number");
    let alive = nix::sys::signal::kill(Pid::from_raw(pid), None);
    assert_eq!(alive, Ok(()));
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).expect("ours to end");
}

#[test]
fn the_time_limit_ends_the_whole_group() {
    let start = clock::now();
    let (outcome, lines) = run_in("sleep 50 & echo $!; wait", Duration::from_millis(50));
    assert_eq!(outcome, Outcome::TimedOut);
    assert!(clock::now().since(start) < Duration::from_secs(2), "TERM was enough");
    assert!(ends(&lines[0]), "the child is gone too");
}

#[test]
fn who_writes_without_end_is_ended_in_time() {
    let start = clock::now();
    let (outcome, lines) = run_in("yes; true", Duration::from_millis(50));
    assert_eq!(outcome, Outcome::TimedOut);
    assert!(lines.len() <= MOST_OUTPUT / 2 + 2);
    assert!(clock::now().since(start) < Duration::from_secs(10));
}

#[test]
fn who_is_only_asked_leaves_nobody_behind() {
    let bell = Doorbell::new().expect("eventfd");
    let mut lines = Vec::new();
    let command = "sleep 50 & echo $!; exit 2";
    let outcome = ask(command, &[], LONG, &bell, |_, line| lines.push(line.to_owned())).expect("starts");
    assert_eq!(outcome, Outcome::Failed(2));
    assert!(ends(&lines[0]));
}

#[test]
fn who_runs_away_into_a_session_of_his_own_is_caught() {
    let bell = Doorbell::new().expect("eventfd");
    let file = std::env::temp_dir().join(format!("diehard-runaway-{}", std::process::id()));
    let path = file.display();
    for (end, limit, expected) in [
        ("exit 255", LONG, Outcome::Failed(255)),
        ("trap '' TERM; while :; do sleep 50; done", Duration::from_secs(5), Outcome::TimedOut),
    ] {
        let _ = std::fs::remove_file(&file);
        // A daemon's way: a session of its own, output to nowhere, deaf. The command ends when that has said its number.
        let away = format!("trap \"\" TERM; echo $$ >{path}; while :; do sleep 50; done");
        let seen = format!("while [ ! -s {path} ]; do sleep 0.01; done");
        let command = format!("setsid sh -c '{away}' >/dev/null 2>&1 & {seen}; {end}");
        let outcome = ask(&command, &[], limit, &bell, |_, _| {}).expect("starts");
        assert_eq!(outcome, expected);
        let pid = std::fs::read_to_string(&file).expect("it has run");
        assert!(ends(pid.trim()), "{pid} lives");
    }
    std::fs::remove_file(&file).expect("ours");
}

/// Waits until that process has ended: a signal takes effect when its receiver is scheduled, and the kernel closes a dying
/// process's files before it calls it dead. A zombie is some init's business.
fn ends(pid: &str) -> bool {
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z ") || stat.contains(") X "))
    };
    let until = clock::now() + Duration::from_secs(20);
    while !gone() && clock::now() < until {
        clock::sleep_until(clock::now() + Duration::from_millis(5));
    }
    gone()
}

#[test]
fn the_end_of_a_process_is_seen() {
    let mut child = Command::new("/bin/sleep").arg("50").spawn().expect("sleep runs");
    let end = watch(child.id()).expect("it lives");
    let bits = doorbell::wait_any(&[end.as_fd()], clock::now()).expect("polled");
    assert_eq!(bits, [false]);
    child.kill().expect("ours to end");
    assert_eq!(doorbell::wait_any(&[end.as_fd()], Instant::MAX).expect("polled"), [true]);
    child.wait().expect("ended");
}

#[test]
fn a_deaf_command_is_killed() {
    let (outcome, _) = run_in("trap '' TERM; while :; do sleep 1; done", Duration::from_millis(50));
    assert_eq!(outcome, Outcome::TimedOut);
}

#[test]
fn calling_off_ends_it() {
    let bell = Doorbell::new().expect("eventfd");
    bell.ring();
    assert_eq!(run("sleep 50", &[], LONG, &bell, |_| {}).expect("starts"), Outcome::CalledOff);
}

#[test]
fn output_is_bounded() {
    let (outcome, lines) = run_in("yes x | head -c 1000000; head -c 5000 /dev/zero | tr '\\0' y; echo", LONG);
    assert_eq!(outcome, Outcome::Done);
    assert!(lines.len() <= MOST_OUTPUT / 2 + 2 + 2_048, "{}", lines.len());
    assert!(lines.contains(&"(further output is not logged)".to_owned()));
    let (_, lines) = run_in("head -c 5000 /dev/zero | tr '\\0' y; echo; echo end", LONG);
    assert_eq!((lines[0].len(), lines[1].as_str()), (LONGEST_LINE, "end"));
}

#[test]
fn whoever_starts_it_a_command_is_ordinary_and_hears_signals() {
    let blocked = "grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '[:space:]'";
    let masked = std::thread::spawn(move || {
        let mut all = nix::sys::signal::SigSet::empty();
        all.add(Signal::SIGTERM);
        all.thread_block().expect("blocked");
        run_in(blocked, LONG).1
    });
    let lines = masked.join().expect("no assertion failed");
    let status = lines.concat();
    assert!(status.starts_with("SigBlk:0000000000000000"), "{status}");
    let policy = "chrt -p $$ 2>/dev/null || echo SCHED_OTHER";
    let realtime = std::thread::spawn(move || {
        let done = crate::os::sched::realtime(1).is_ok();
        (done, run_in(policy, LONG).1.concat())
    });
    let (done, said) = realtime.join().expect("no assertion failed");
    assert!(!done || said.contains("SCHED_OTHER"), "{said}");
}

#[test]
fn what_is_fed_is_read_or_not() {
    let bell = Doorbell::new().expect("eventfd");
    // More than a pipe holds: a command that does not read keeps nobody waiting.
    let input = "words\n".repeat(100_000);
    let fed = |command: &str| {
        let mut lines = Vec::new();
        let outcome = feed(command, input.as_bytes(), &[], LONG, &bell, |line| lines.push(line.to_owned()));
        (outcome.expect("the shell starts"), lines)
    };
    assert_eq!(fed("wc -l"), (Outcome::Done, vec!["100000".to_owned()]));
    assert_eq!(fed("exit 3"), (Outcome::Failed(3), vec![]));
}

/// One that nobody watches over, and its output.
fn spawned(command: &str) -> (Shell, io::PipeReader) {
    let null = nothing().expect("/dev/null");
    let (output, writer) = io::pipe().expect("descriptors");
    let standard = [null.as_fd(), writer.as_fd(), null.as_fd()];
    (Shell::spawn(command, &[], standard, None).expect("starts"), output)
}

/// An error on the way leaves no command behind.
#[test]
fn who_is_not_waited_for_is_ended() {
    let (shell, mut output) = spawned("sleep 50 & echo $!; wait");
    let pid = shell.id();
    let mut line = [0; 16];
    let length = output.read(&mut line).expect("it says a number");
    drop(shell);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it was waited for");
    assert!(ends(std::str::from_utf8(&line[..length]).expect("a number").trim()), "and its group is gone");
}

const IGNORING: &str = "DIEHARD_TEST_IGNORING";

/// Not a test: the process that the next one starts, which ignores SIGCHLD as if whoever started it did.
#[test]
fn runs_commands_if_it_is_told_to() {
    if std::env::var_os(IGNORING).is_none() {
        return;
    }
    let ignores = |status: &str| {
        let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it is there");
        u64::from_str_radix(set.trim(), 16).expect("a set") & 1 << (libc::SIGCHLD - 1) != 0
    };
    let own = || ignores(&std::fs::read_to_string("/proc/self/status").expect("read"));
    // SAFETY: nothing of ours is called.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.expect("set");
    assert!(own());
    let (shell, mut output) = spawned("exec cat /proc/self/status");
    let mut said = String::new();
    output.read_to_string(&mut said).expect("read");
    assert!(!ignores(&said), "what is not inherited by commands");
    drop(shell);
    let bell = Doorbell::new().expect("eventfd");
    run("exit 7", &[], LONG, &bell, |_| {}).expect_err("the kernel keeps no child");
    crate::os::signals::wait_for_children();
    assert!(!own());
    assert_eq!(run_in("exit 7", LONG).0, Outcome::Failed(7));
}

#[test]
fn whoever_started_us_we_learn_how_our_children_end() {
    let test = "os::process::tests::runs_commands_if_it_is_told_to";
    let mut program = Command::new(std::env::current_exe().expect("this program"));
    let ended =
        program.args(["--exact", test, "--nocapture"]).env(IGNORING, "yes").output().expect("it runs");
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}
