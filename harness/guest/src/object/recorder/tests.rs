use std::ffi::CString;

use super::*;

#[test]
fn calls_are_recorded_only_during_a_recording() {
    // Every kernel refuses a path that does not exist; where a filter refuses `bpf(2)` itself, the call is seen as
    // well.
    let folder = tempfile::tempdir().unwrap();
    let missing = CString::new(folder.path().join("object").to_str().unwrap()).unwrap();
    let call = || crate::bpf::obj_get(&missing, 0).unwrap_err();
    call();
    start();
    let errno = call();
    let answer = finish();
    let step = ObjectStep {
        cmd: "obj_get".into(),
        about: String::new(),
        purpose: Purpose::Work,
        token: false,
        errno: Some(errno),
        times: 1,
        ..Default::default()
    };
    assert_eq!(answer.steps, [step]);
    call();
    assert_eq!(finish(), ObjectAnswer::default());
}

#[test]
fn a_probe_is_recorded_with_its_feature() {
    let mut recorder = Recorder { probing: Some(0), ..Recorder::default() };
    let mut attr = sys::bpf_attr::default();
    attr.__bindgen_anon_3 = sys::bpf_attr__bindgen_ty_4 { prog_type: 1, prog_flags: TOKEN, ..Default::default() };
    recorder.note(sys::BPF_PROG_LOAD, &attr, Some(Errno::EPERM));
    recorder.probing = None;
    recorder.note(sys::BPF_PROG_LOAD, &attr, None);
    let recorded: Vec<_> = recorder.answer.steps.iter().map(|step| (step.purpose.clone(), step.errno)).collect();
    let probe = |name: &str| Purpose::Probe(name.to_owned());
    assert_eq!(recorded, [(probe("names"), Some(Errno::EPERM)), (probe("loading"), None)]);
    assert!(recorder.answer.steps.iter().all(|step| step.about == "socket_filter" && step.token));
}

#[test]
fn attachments_are_recorded_by_name_as_are_failures_without_a_call() {
    let mut recorder = Recorder::default();
    let begin = |recorder: &mut Recorder, name: &str| {
        let (name, what) = (name.to_owned(), Attached::Program);
        recorder.attaching = Some(Attaching { name, what, calls: 0, refused: false });
    };
    begin(&mut recorder, "probe");
    recorder.note_event(Some(Errno::from_raw(libc::EACCES)));
    assert_eq!(recorder.attached(Some(Errno::from_raw(libc::EACCES))), 1);
    begin(&mut recorder, "enter");
    let mut attr = sys::bpf_attr::default();
    attr.link_create = sys::bpf_attr__bindgen_ty_14 { attach_type: sys::BPF_TRACE_FENTRY, ..Default::default() };
    recorder.note(sys::BPF_LINK_CREATE, &attr, None);
    assert_eq!(recorder.attached(None), 1);
    begin(&mut recorder, "filter");
    assert_eq!(recorder.attached(Some(Errno::from_raw(libc::EOPNOTSUPP))), 0);
    begin(&mut recorder, "point");
    recorder.attached(Some(Errno::from_raw(libc::ENOENT)));
    let recorded = |step: &ObjectStep| (format!("{} {}", step.cmd, step.about), step.errno);
    let expected = [
        ("perf_event_open probe".to_owned(), Some(Errno::from_raw(libc::EACCES))),
        ("link_create trace_fentry enter".to_owned(), None),
        ("attach point".to_owned(), Some(Errno::from_raw(libc::ENOENT))),
    ];
    assert_eq!(recorder.answer.steps.iter().map(recorded).collect::<Vec<_>>(), expected);
    assert!(recorder.answer.steps.iter().all(|step| step.purpose == Purpose::Attachment));
}

#[test]
fn numbers_without_a_name_stay_numbers() {
    assert_eq!((command_name(36), command_name(39)), ("token_create".to_owned(), "command 39".to_owned()));
    assert_eq!((feature_name(2), feature_name(24)), ("BTF".to_owned(), "feature 24".to_owned()));
}
