use super::*;
use crate::config::{Check, CheckOptions, CheckScope, PolicyStep};
use crate::control::scratch::Directory;
use crate::os::{clock, namespace};
use crate::threads::services::agent::Places;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicU64;

pub(super) fn check(kind: CheckKind, target: &str) -> Check {
    Check {
        name: "looked-at".to_owned(),
        scope: CheckScope::Node,
        kind,
        target: target.to_owned(),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        fail: 1,
        rise: 1,
        policy: vec![PolicyStep::Alert],
        options: CheckOptions::default(),
    }
}

fn job(kind: CheckKind, target: &str) -> Job {
    of(check(kind, target))
}

fn of(check: Check) -> Job {
    let (began, errors_seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(link::NOT_SEEN)));
    let (service, addresses, device) = ("www1".to_owned(), "203.0.113.21".to_owned(), "eth0".to_owned());
    let places = Arc::default();
    let statuses = Vec::new();
    Job {
        number: 1,
        check,
        began,
        service,
        addresses,
        device,
        ended: None,
        told: false,
        errors_seen,
        statuses,
        places,
    }
}

fn finding(kind: CheckKind, target: &str) -> Finding {
    look(&job(kind, target), &Doorbell::new().expect("a descriptor")).finding
}

/// With a timeout that shall pass.
fn late(kind: CheckKind, target: &str) -> Finding {
    let mut job = job(kind, target);
    job.check.timeout = Duration::from_millis(50);
    look(&job, &Doorbell::new().expect("a descriptor")).finding
}

/// A server on a port of its own that gives each caller this answer.
pub(super) fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a caller");
            let mut part = [0; 4096];
            let mut asked = Vec::new();
            // All of the question: whoever closes with something unread resets the connection, and the answer with it.
            while let Ok(length) = stream.read(&mut part) {
                asked.extend_from_slice(&part[..length]);
                if length == 0 || !asked.starts_with(b"GET ") || asked.ends_with(b"\r\n\r\n") {
                    break;
                }
            }
            let _ = stream.write_all(answer.as_bytes());
            if answer.is_empty() {
                // It keeps its callers waiting.
                std::mem::forget(stream);
            }
        }
    });
    address
}

#[test]
fn a_web_server_is_judged_by_its_status() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Finding::well("HTTP status 200 OK")),
        ("HTTP/1.0 204 No Content\r\n\r\n", Finding::well("HTTP status 204 No Content")),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://203.0.113.1/\r\nContent-Length: 0\r\n\r\n",
            Finding::well("HTTP status 302 Found"),
        ),
        ("HTTP/1.1 404 Gone fishing\r\nContent-Length: 0\r\n\r\n", Finding::bad("HTTP status 404 Not Found")),
        (
            "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
            Finding::bad("HTTP status 500 Internal Server Error"),
        ),
    ] {
        assert_eq!(finding(CheckKind::Http, &format!("http://{}/health?x=1", server(answer))), expected);
    }
}

#[test]
fn a_web_server_that_does_not_answer_says_why() {
    let silent = format!("http://{}/", server(""));
    assert_eq!(late(CheckKind::Http, &silent), Finding::bad("no answer within 50 ms"));
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    assert_eq!(finding(CheckKind::Http, &format!("http://{nobody}/")), Finding::bad("connection refused"));
    let rubbish = finding(CheckKind::Http, &format!("http://{}/", server("rubbish\r\n\r\n")));
    assert!(!rubbish.well && !rubbish.message.is_empty(), "{rubbish:?}");
    assert!(!finding(CheckKind::Http, "http://a:b:c/").well);
}

#[test]
fn a_port_is_open_or_says_why_not() {
    let address = server("");
    let open = finding(CheckKind::Tcp, &address);
    assert!(open.well && open.message.starts_with("connected in "), "{open:?}");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    assert_eq!(finding(CheckKind::Tcp, &nobody.to_string()), Finding::bad("connection refused"));
}

#[test]
fn a_plugin_speaks_by_exit_code_and_first_line() {
    for (command, expected) in [
        (
            "echo 'perl: warning: no locale' >&2; echo 'OK - fine | time=1s;2;3 size=4B'; echo more",
            Finding::well("OK - fine").measured(Some("time=1s;2;3 size=4B".to_owned())),
        ),
        ("true", Finding::well("exit code 0")),
        ("echo 'WARNING - slow'; exit 1", Finding::warns("WARNING - slow")),
        ("echo 'it broke' >&2; exit 2", Finding::bad("it broke")),
        ("echo 'CRITICAL - dead'; exit 2", Finding::bad("CRITICAL - dead")),
        ("exit 3", Finding::bad("exit code 3")),
        ("echo $DIEHARD_SERVICE $DIEHARD_CHECK; exit 255", Finding::bad("www1 looked-at")),
        ("kill -9 $$", Finding::bad("ended by signal 9")),
        ("/no/such/plugin 2>/dev/null", Finding::bad("exit code 127")),
    ] {
        assert_eq!(finding(CheckKind::Script, command), expected, "{command}");
    }
    assert_eq!(late(CheckKind::Script, "yes | cat; sleep 60"), Finding::bad("no answer within 50 ms"));
}

#[test]
fn a_service_is_asked_by_its_own_status() {
    let directory = Directory::new("status");
    let agents = directory.path.join("resource.d/test");
    std::fs::create_dir_all(&agents).expect("a new directory");
    let text = "#!/bin/sh\necho INFO: a note >&2\ncase $OCF_CHECK_LEVEL in 0) exit 0;; 1) echo ocf-exit-reason:no page >&2; \
                exit 1;; 2) exit 7;; *) sleep 600;; esac\n";
    std::fs::write(agents.join("agent"), text).expect("writable");
    namespace::run(&format!("chmod 755 {}/agent", agents.display()));
    let places = Places { ocf_root: directory.path.clone(), ..Places::default() };
    let asked = |status: &str, level: &str| {
        let mut job = job(CheckKind::Service, level);
        (job.statuses, job.places) = (vec![(None, status.to_owned())], Arc::new(places.clone()));
        if level == "3" {
            job.check.timeout = Duration::from_millis(50);
        }
        look(&job, &Doorbell::new().expect("a descriptor")).finding
    };
    for (status, level, expected) in [
        ("echo fine", "0", Finding::well("fine")),
        ("true", "0", Finding::well("running")),
        ("echo $DIEHARD_SERVICE is dead; exit 1", "0", Finding::bad("exit code 1: www1 is dead")),
        ("kill -9 $$", "0", Finding::bad("ended by signal 9")),
        ("ocf:test:agent", "0", Finding::well("running")),
        ("ocf:test:agent", "1", Finding::bad("it failed (OCF exit code 1): no page")),
        ("ocf:test:agent", "2", Finding::bad("not running (OCF exit code 7)")),
        ("ocf:test:agent", "3", Finding::bad("no answer within 50 ms")),
    ] {
        assert_eq!(asked(status, level), expected, "{status} {level}");
    }
    let parts = |statuses: &[(&str, &str)]| {
        let mut job = job(CheckKind::Service, "0");
        job.statuses =
            statuses.iter().map(|(part, text)| (Some((*part).to_owned()), (*text).to_owned())).collect();
        look(&job, &Doorbell::new().expect("a descriptor")).finding
    };
    assert_eq!(parts(&[("disk", "true"), ("web", "echo up")]), Finding::well("all 2 run"));
    let bad = parts(&[("disk", "true"), ("web", "echo down; exit 3"), ("last", "kill -9 $$")]);
    assert_eq!(bad, Finding::bad("web: exit code 3: down"));
    let missing = asked("ocf:test:other", "0");
    assert!(!missing.well && missing.message.starts_with("there is no "), "{missing:?}");
}

#[test]
fn a_process_is_found_and_its_end_is_told() {
    let directory = Directory::new("process");
    let file = directory.path.join("pid");
    let path = file.to_str().expect("a plain path").to_owned();
    let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().expect("sleep runs");
    let missing = finding(CheckKind::Process, &path);
    std::fs::write(&file, format!("{}\n", child.id())).expect("writable");
    let found = look(&job(CheckKind::Process, &path), &Doorbell::new().expect("a descriptor"));
    let by_name = finding(CheckKind::Process, "sleep");
    child.kill().expect("ours");
    child.wait().expect("ended");
    let mut again = job(CheckKind::Process, &path);
    again.ended = Some(child.id());
    let gone = look(&again, &Doorbell::new().expect("a descriptor")).finding;
    let dead = finding(CheckKind::Process, &path);
    std::fs::write(&file, "nonsense").expect("writable");
    let nonsense = finding(CheckKind::Process, &path);
    assert_eq!(missing, Finding::bad(format!("{path}: no such file or directory")));
    assert_eq!(found.finding, Finding::well(format!("process {} lives", child.id())));
    assert_eq!(found.process.expect("found").pid, child.id());
    assert!(by_name.well, "{by_name:?}");
    assert_eq!(gone, Finding::gone(format!("process {} has ended", child.id())));
    assert_eq!(dead, Finding::bad(format!("process {} of {path} does not live", child.id())));
    assert_eq!(nonsense, Finding::bad(format!("{path} holds no process number")));
    let nobody = finding(CheckKind::Process, "no-such-process");
    assert_eq!(nobody, Finding::bad("no process no-such-process lives"));
}

#[test]
fn a_card_and_a_gateway_say_why() {
    namespace::within(|| {
        assert_eq!(finding(CheckKind::Link, "lo"), Finding::well("lo is up"));
        assert_eq!(finding(CheckKind::Link, "eth0"), Finding::bad("eth0: no such device"));
        let neighbour = namespace::with_neighbour(|| {
            namespace::run("ip addr add 203.0.113.1/24 dev eth0");
            // Until the other end has gone, and the card with it.
            while namespace::run("ip -o link show").contains("eth0") {
                clock::sleep_until(clock::now() + Duration::from_millis(20));
            }
        });
        // No address of its own: ARP is all it has.
        assert_eq!(finding(CheckKind::Gateway, "203.0.113.1"), Finding::well("203.0.113.1 answers ARP"));
        let silent = late(CheckKind::Gateway, "203.0.113.9");
        assert_eq!(silent, Finding::bad("203.0.113.9: no answer within 50 ms"));
        let far = finding(CheckKind::Gateway, "2001:db8::1");
        assert_eq!(far, Finding::bad("cannot ask 2001:db8::1: network is unreachable"));
        assert_eq!(finding(CheckKind::Gateway, "127.0.0.1"), Finding::well("127.0.0.1 answers an echo"));
        namespace::run("ip link set eth0 down");
        assert_eq!(finding(CheckKind::Link, "eth0"), Finding::bad("eth0 is switched off"));
        namespace::run("ip link del eth0");
        neighbour.join().expect("no assertion failed");
    });
}

#[test]
fn a_disk_that_is_full_or_read_only_says_so() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a mount needs root");
        return;
    }
    let directory = Directory::new("full");
    let path = directory.path.to_str().expect("a plain path").to_owned();
    // A mount namespace of this thread's own: whatever happens, nothing stays mounted.
    std::thread::spawn({
        let path = path.clone();
        move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("root may");
            namespace::run("mount --make-rprivate /");
            namespace::run(&format!("mount -t tmpfs -o size=1m,nr_inodes=20 none {path}"));
            assert_eq!(finding(CheckKind::Disk, &path), Finding::well(format!("{path} is 0% full")));
            namespace::run(&format!("head -c 600k /dev/zero > {path}/some"));
            let some = finding(CheckKind::Disk, &format!("{path} 50%"));
            assert!(!some.well && some.message.ends_with("% full, 50% is the limit"), "{some:?}");
            assert!(finding(CheckKind::Disk, &path).well);
            namespace::run(&format!("head -c 2m /dev/zero > {path}/more 2>/dev/null || true"));
            let full = finding(CheckKind::Disk, &format!("{path} 100%"));
            assert_eq!(full, Finding::bad(format!("cannot write to {path}: no space left on device")));
            namespace::run(&format!("rm {path}/*; for i in $(seq 19); do touch {path}/$i || true; done"));
            let inodes = finding(CheckKind::Disk, &path);
            assert!(!inodes.well && inodes.message.contains("of its inodes in use"), "{inodes:?}");
            namespace::run(&format!("mount -o remount,ro {path}"));
            assert_eq!(finding(CheckKind::Disk, &path), Finding::bad(format!("{path} is mounted read-only")));
        }
    })
    .join()
    .expect("no assertion failed");
    std::fs::remove_dir(&directory.path).expect("empty");
    assert_eq!(finding(CheckKind::Disk, &path), Finding::bad(format!("{path}: no such file or directory")));
}

fn listens(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// What a port answers.
fn answers(answer: &'static str, change: impl FnOnce(&mut Check)) -> Finding {
    let mut check = check(CheckKind::Tcp, &server(answer));
    change(&mut check);
    look(&of(check), &Doorbell::new().expect("a descriptor")).finding
}

#[test]
fn a_port_is_asked_and_must_answer() {
    let mail = "220 mail.example.net ESMTP ready\r\n";
    let expecting =
        |text: &'static str| move |check: &mut Check| check.options.expect = Some(text.to_owned());
    let both = |check: &mut Check| {
        check.options.send = Some("QUIT\r\n".to_owned());
        check.options.expect_regex = Some("^220 .* ESMTP".to_owned());
    };
    assert_eq!(answers(mail, both), Finding::well("it answers `220 mail.example.net ESMTP ready`"));
    let other = Finding::bad(
        "closed after 34 bytes, the answer does not hold `250`: it answers `220 mail.example.net ESMTP ready`",
    );
    assert_eq!(
        answers(mail, |check| {
            check.options.send = Some("x".to_owned());
            expecting("250")(check)
        }),
        other
    );
    let silent = answers("", |check| {
        expecting("220")(check);
        check.timeout = Duration::from_millis(60);
    });
    assert_eq!(silent, Finding::bad("no answer within 60 ms"));
}

#[test]
fn a_monitor_of_mon_gets_its_hosts_and_says_which_failed() {
    let mon = |command: &str, hosts: &[&str]| {
        let mut check = check(CheckKind::Script, command);
        check.options.speaks = crate::config::Speaks::Mon;
        check.options.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        look(&of(check), &Doorbell::new().expect("a descriptor")).finding
    };
    let monitor = r#"sh -c 'echo "$2"; echo "detail | of $1"; exit 1' monitor"#;
    assert_eq!(mon(monitor, &["web1", "web2"]), Finding::bad("web2"));
    assert_eq!(
        mon("sh -c 'echo $1 of $MON_GROUP $MON_SERVICE; exit 9' x", &[]),
        Finding::bad("203.0.113.21 of www1 looked-at")
    );
    assert_eq!(mon("true", &["web1"]), Finding::well("exit code 0"));
    assert_eq!(mon("false", &["web1"]), Finding::bad("exit code 1"));
}

#[test]
fn a_card_has_a_speed_and_errors_and_the_kernels_word_is_beyond_doubt() {
    namespace::within(|| {
        namespace::cable("eth7", "eth8");
        let card = |change: &dyn Fn(&mut Job)| {
            let mut job = job(CheckKind::Link, "eth7");
            change(&mut job);
            look(&job, &Doorbell::new().expect("a descriptor")).finding
        };
        assert_eq!(card(&|job| job.check.options.speed = Some(10_000)), Finding::well("eth7 is up"));
        let slow = card(&|job| job.check.options.speed = Some(40_000));
        assert_eq!(slow, Finding::bad("eth7 runs at 10000 Mbit/s, 40000 are the least"));
        assert_eq!(card(&|job| job.check.options.errors = Some(0)), Finding::well("eth7 is up"));
        namespace::run("ip link set eth8 down");
        namespace::wait_for("eth7", "LOWERLAYERDOWN");
        assert_eq!(card(&|_| {}), Finding::bad("eth7 has no carrier"));
        assert_eq!(card(&|job| job.told = true), Finding::gone("eth7 has no carrier"));
    });
}

#[test]
fn a_disk_that_hangs_holds_nobody_but_its_worker() {
    let tools = ["mkfs.ext4", "fsfreeze"].iter().all(|tool| {
        ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|place| std::path::Path::new(place).join(tool).exists())
    });
    if !nix::unistd::geteuid().is_root() || !tools || !std::path::Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: a disk that hangs needs root, loop devices, mkfs.ext4 and fsfreeze");
        return;
    }
    let directory = Directory::new("frozen");
    let path = directory.path.to_str().expect("a plain path").to_owned();
    std::thread::spawn({
        let path = path.clone();
        move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("root may");
            namespace::run("mount --make-rprivate /");
            namespace::run(&format!(
                "truncate -s 16M {path}/disk && PATH=$PATH:/usr/sbin:/sbin mkfs.ext4 -q {path}/disk"
            ));
            namespace::run(&format!("mkdir {path}/there && mount -o loop {path}/disk {path}/there"));
            let there = format!("{path}/there");
            assert!(finding(CheckKind::Disk, &there).well);
            namespace::run(&format!("PATH=$PATH:/usr/sbin:/sbin fsfreeze -f {there}"));
            let (tell, told) = std::sync::mpsc::channel();
            let target = there.clone();
            let worker = std::thread::spawn(move || tell.send(finding(CheckKind::Disk, &target)));
            let early = told.recv_timeout(Duration::from_millis(300));
            namespace::run(&format!("PATH=$PATH:/usr/sbin:/sbin fsfreeze -u {there}"));
            assert_eq!(
                early,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout),
                "it hangs as long as the disk"
            );
            // When the disk goes on, so does the worker, and what it wrote is gone again.
            assert!(told.recv().expect("it comes back").well);
            worker.join().expect("no assertion failed").expect("heard");
            assert_eq!(namespace::run(&format!("find {there} -name '.diehard*'")), "");
            namespace::run(&format!("umount {there}"));
        }
    })
    .join()
    .expect("no assertion failed");
}

#[test]
fn real_plugins_are_understood() {
    let plugins = "/usr/lib/nagios/plugins";
    if !std::path::Path::new(plugins).join("check_procs").exists() {
        eprintln!("skipped: monitoring-plugins-basic is not installed");
        return;
    }
    let found = finding(CheckKind::Script, &format!("{plugins}/check_procs -c 1:100000"));
    assert!(found.well && found.message.starts_with("PROCS OK"), "{found:?}");
    assert!(found.performance.as_deref().is_some_and(|data| data.starts_with("procs=")), "{found:?}");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let open = finding(CheckKind::Script, &format!("{plugins}/check_tcp -H 127.0.0.1 -p {port}"));
    assert!(open.well && open.message.starts_with("TCP OK"), "{open:?}");
    drop(listener);
    assert!(!listens(port), "closed");
    let closed = finding(CheckKind::Script, &format!("{plugins}/check_tcp -H 127.0.0.1 -p {port}"));
    assert!(!closed.well && closed.message.contains("Connection refused"), "{closed:?}");
}
