//! Network namespaces for the tests of `os`: a thread of its own that left the machine's network behind.

use super::clock;
use std::process::Command;
use std::time::Duration;

/// Runs `test` on a thread in a fresh, empty network namespace, which ends with the thread. Without root
/// it says so and does nothing.
pub(crate) fn within(test: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: a network namespace needs root");
        return;
    }
    std::thread::spawn(|| {
        leave();
        run("ip link set lo up");
        test();
    })
    .join()
    .expect("no assertion failed");
}

/// Puts the calling thread into a fresh namespace.
pub(crate) fn leave() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("root may leave its network");
}

/// Runs a command in the calling thread's namespace; its output.
pub(crate) fn run(command: &str) -> String {
    let output = Command::new("/bin/sh").args(["-c", command]).output().expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Puts `eth0` of the calling thread's namespace on a cable to `eth0` of another namespace, and runs
/// `there` on a thread in that one. Both ends are up and have no address.
pub(crate) fn with_neighbour<T: Send + 'static>(
    there: impl FnOnce() -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let (tell, told) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel();
    let neighbour = std::thread::spawn(move || {
        leave();
        tell.send(nix::unistd::gettid()).expect("heard");
        gone.recv().expect("the cable is there");
        run("ip link set lo up; ip link set eth0 up");
        there()
    });
    let thread = told.recv().expect("the neighbour left its network");
    run(&format!("ip link add eth0 type veth peer name eth0 netns {thread} && ip link set eth0 up"));
    go.send(()).expect("heard");
    // What is sent before the kernel has seen both ends is dropped without a word.
    wait_for("eth0", "UP");
    neighbour
}

/// A card with a carrier, and the other end of its cable.
pub(crate) fn cable(card: &str, far: &str) {
    run(&format!(
        "ip link add {card} type veth peer name {far} && ip link set {card} up && ip link set {far} up"
    ));
    wait_for(card, "UP");
}

/// Waits until the card is in that state: what the other end does reaches it some time after the command.
pub(crate) fn wait_for(card: &str, state: &str) {
    let patience = clock::now() + Duration::from_secs(20);
    while !run(&format!("ip link show {card}")).contains(&format!("state {state} ")) {
        assert!(clock::now() < patience, "{card} is never {state}");
        clock::sleep_until(clock::now() + Duration::from_millis(1));
    }
}
