//! A process that was asked to show no progress shows none. It is a program of its own: silence is for a whole process.

use harness_builder::progress::Progress;

#[test]
fn a_process_is_silent_once_it_is_asked_to_be() {
    assert_ne!(format!("{:?}", Progress::detect()), "Progress(silent)");
    Progress::silence();
    assert_eq!(format!("{:?}", Progress::detect()), "Progress(silent)");
}
