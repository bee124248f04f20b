use super::*;
use crate::control::scratch::Directory;
use crate::os::doorbell::Doorbell;
use crate::os::process::{self, Outcome};

/// A machine in a directory of its own, with small agents that keep their state in a file.
struct Machine {
    directory: Directory,
    places: Places,
}

const LSB: &str = "#!/bin/sh
state=DIR/lsb.$1
case $1 in
start) echo lsb up; touch DIR/lsb ;;
stop) [ -e DIR/lsb ] || exit 7; rm DIR/lsb ;;
status) [ -e DIR/dead ] && exit 1; [ -e DIR/lsb ] || exit 3; echo lsb runs ;;
*) exit 3 ;;
esac
";
const OCF: &str = "#!/bin/sh
[ \"$OCF_ROOT\" = DIR/ocf ] && [ \"$OCF_RESOURCE_INSTANCE\" = www1 ] && [ \"$OCF_RESOURCE_PROVIDER\" = test ] || exit 2
[ \"$OCF_RESOURCE_TYPE\" = agent ] && [ \"$OCF_RESKEY_CRM_meta_timeout\" = 20000 ] || exit 2
[ \"$OCF_RESKEY_file\" = 'DIR/a state' ] || { echo ocf-exit-reason:no file >&2; exit 6; }
case $1 in
start) touch \"$OCF_RESKEY_file\" ;;
stop) rm \"$OCF_RESKEY_file\" || exit 7 ;;
monitor) [ \"$OCF_CHECK_LEVEL $OCF_RESKEY_CRM_meta_interval\" = '10 1000' ] || exit 2
    [ -e DIR/degraded ] && exit 190; [ -e \"$OCF_RESKEY_file\" ] || exit 7 ;;
*) exit 3 ;;
esac
";
const SYSTEMCTL: &str = "#!/bin/sh
[ \"$1 $3\" = '--no-ask-password nginx.service' ] || exit 5
case $2 in
start) touch DIR/unit ;;
stop) rm -f DIR/unit ;;
is-active) if [ -e DIR/unit ]; then echo active; else echo inactive; exit 3; fi ;;
esac
";
const LOOK: Deed = Deed::Look { level: 10, interval: Duration::from_secs(1) };
const LIMIT: Duration = Duration::from_secs(20);

fn machine(name: &str) -> Machine {
    let directory = Directory::new(name);
    // A quote and a space: paths are one word of the shell, whatever is in them.
    let init_scripts = directory.path.join("init's d");
    let agents = directory.path.join("ocf/resource.d/test");
    let systemd = directory.path.join("system");
    for new in [&init_scripts, &agents, &systemd] {
        fs::create_dir_all(new).expect("a new directory");
    }
    let systemctl = directory.path.join("systemctl");
    for (path, text) in
        [(init_scripts.join("nginx"), LSB), (agents.join("agent"), OCF), (systemctl.clone(), SYSTEMCTL)]
    {
        let text = text.replace("DIR", directory.path.to_str().expect("a plain path"));
        fs::write(&path, text).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    let places = Places { init_scripts, ocf_root: directory.path.join("ocf"), systemd, systemctl };
    Machine { directory, places }
}

impl Machine {
    fn ask(&self, text: &str, deed: Deed) -> Result<(), String> {
        let agent = Agent::parse(&text.replace("DIR", self.directory.path.to_str().expect("a plain path")))?;
        let Call { command, environment } = call(&agent, deed, "www1", LIMIT, &self.places)?;
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let bell = Doorbell::new().expect("a descriptor");
        match process::run(&command, &environment, LIMIT, &bell, |_| {}).expect("the shell starts") {
            Outcome::Done => Ok(()),
            Outcome::Failed(code) => judge(&agent, deed, code),
            other => panic!("{other:?}"),
        }
    }

    fn touch(&self, name: &str) {
        fs::write(self.directory.path.join(name), "").expect("writable");
    }
}

fn no(words: &str) -> Result<(), String> {
    Err(words.to_owned())
}

#[test]
fn an_init_script_speaks_as_the_standard_has_it() {
    let machine = machine("lsb");
    let text = "lsb:nginx";
    assert_eq!(machine.ask(text, LOOK), no("not running (LSB status 3)"));
    assert_eq!(machine.ask(text, Deed::Start), Ok(()));
    assert_eq!(machine.ask(text, LOOK), Ok(()));
    assert_eq!(machine.ask(text, Deed::Stop), Ok(()));
    assert_eq!(machine.ask(text, Deed::Stop), Ok(()), "what does not run is stopped");
    machine.touch("dead");
    assert_eq!(machine.ask(text, LOOK), no("dead, its pid file is left (LSB status 1)"));
    let path = machine.places.init_scripts.join("httpd").display().to_string();
    assert_eq!(machine.ask("lsb:httpd", Deed::Start), Err(format!("there is no {path}")));
}

#[test]
fn a_resource_agent_is_told_everything_and_understood() {
    let machine = machine("ocf");
    let text = "ocf:test:agent file='DIR/a state'";
    assert_eq!(machine.ask(text, LOOK), no("not running (OCF exit code 7)"));
    assert_eq!(machine.ask(text, Deed::Start), Ok(()));
    assert_eq!(machine.ask(text, LOOK), Ok(()));
    assert_eq!(machine.ask(text, Deed::Stop), Ok(()));
    assert_eq!(machine.ask(text, Deed::Stop), Ok(()), "what does not run is stopped");
    assert_eq!(machine.ask("ocf:test:agent", Deed::Start), no("not configured (OCF exit code 6)"));
    machine.touch("degraded");
    assert_eq!(machine.ask(text, LOOK), Ok(()), "it serves");
    let gone = machine.ask("ocf:other:agent", Deed::Start).expect_err("not there");
    assert!(gone.starts_with("there is no ") && gone.ends_with("resource.d/other/agent"), "{gone}");
}

#[test]
fn a_unit_needs_systemd() {
    let machine = machine("systemd");
    let text = "systemd:nginx.service";
    assert_eq!(machine.ask(text, LOOK), no("exit code 3"));
    assert_eq!(machine.ask(text, Deed::Start), Ok(()));
    assert_eq!(machine.ask(text, LOOK), Ok(()));
    assert_eq!(machine.ask(text, Deed::Stop), Ok(()));
    assert_eq!(machine.ask("systemd:other", Deed::Start), no("the unit is not loaded (exit code 5)"));
    fs::remove_dir(&machine.places.systemd).expect("empty");
    let why = machine.ask(text, Deed::Start).expect_err("no systemd");
    assert!(why.starts_with("systemd does not run here: there is no "), "{why}");
}

#[test]
fn every_code_has_words_that_say_what_it_is() {
    let lsb = Agent::Lsb("x".to_owned());
    let ocf = Agent::parse("ocf:a:b").expect("right");
    let command = Agent::Command("x".to_owned());
    assert_eq!(judge(&lsb, Deed::Start, 7), no("not running (LSB exit code 7)"));
    assert_eq!(judge(&lsb, LOOK, 4), no("it cannot say (LSB status 4)"));
    assert_eq!(judge(&lsb, LOOK, 150), no("exit code 150"));
    assert_eq!(judge(&ocf, Deed::Start, 5), no("not installed (OCF exit code 5)"));
    assert_eq!(judge(&ocf, Deed::Start, 7), no("not running (OCF exit code 7)"));
    assert_eq!(judge(&ocf, LOOK, 8), Ok(()));
    assert_eq!(judge(&ocf, Deed::Start, 8), no("exit code 8"));
    assert_eq!(judge(&ocf, LOOK, 9), no("it failed as promoted (OCF exit code 9)"));
    assert_eq!(judge(&command, Deed::Stop, 7), no("exit code 7"));
}

#[test]
fn what_the_machine_has_not_is_said_once_for_each_service() {
    let machine = machine("missing");
    let text = "[cluster]\nname = test\n[node a]\npriority = 1\ninternal = eth1 192.168.10.1/24\nexternal = eth0\n\
                [service www1]\nhome = a\naddress = 203.0.113.21/24\nstart = lsb:nginx\n\
                [service www2]\nhome = a\naddress = 203.0.113.22/24\nstart = lsb:httpd\n\
                [service www3]\nhome = a\naddress = 203.0.113.23/24\nstart = /bin/no-such\nstatus = ocf:test:other\n";
    let config = crate::config::parse("test", text.as_bytes()).expect("a right configuration").config;
    let mut lines = missing(&config, &machine.places);
    lines.sort();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("[service www2] start = lsb:httpd: there is no "), "{lines:?}");
    assert!(lines[1].starts_with("[service www3] status = ocf:test:other: there is no "), "{lines:?}");
}
