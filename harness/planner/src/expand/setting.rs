//! The settings that systemd reads in `[Service]`, to find misspelled ones.

use harness_diagnostics::suggest::misspelled;

/// Settings of systemd.service(5), systemd.exec(5), systemd.kill(5) and systemd.resource-control(5), and older ones that
/// are still read (`src/core/load-fragment-gperf.gperf.in` of systemd 257, and some of later ones). It is not complete: a
/// key that is not listed may still be a setting.
const NAMES: &str = "
AllowedCPUs AllowedMemoryNodes AmbientCapabilities AppArmorProfile BPFDelegateAttachments BPFDelegateCommands
BPFDelegateMaps BPFDelegatePrograms BPFProgram BindLogSockets BindPaths BindReadOnlyPaths BlockIOAccounting
BlockIODeviceWeight BlockIOReadBandwidth BlockIOWeight BlockIOWriteBandwidth BusName BusPolicy CPUAccounting
CPUAffinity CPUQuota CPUQuotaPeriodSec CPUSchedulingPolicy CPUSchedulingPriority CPUSchedulingResetOnFork CPUShares
CPUWeight CacheDirectory CacheDirectoryMode Capabilities CapabilityBoundingSet ConfigurationDirectory
ConfigurationDirectoryMode CoredumpFilter CoredumpReceive DefaultMemoryLow DefaultMemoryMin DefaultStartupMemoryLow
Delegate DelegateNamespaces DelegateSubgroup DeviceAllow DevicePolicy DisableControllers DynamicUser Environment
EnvironmentFile ExecCondition ExecPaths ExecReload ExecReloadPost ExecSearchPath ExecStart ExecStartPost
ExecStartPre ExecStop ExecStopPost ExitType ExtensionDirectories ExtensionImagePolicy ExtensionImages FailureAction
FileDescriptorStoreMax FileDescriptorStorePreserve FinalKillSignal Group GuessMainPID IOAccounting
IODeviceLatencyTargetSec IODeviceWeight IOReadBandwidthMax IOReadIOPSMax IOSchedulingClass IOSchedulingPriority
IOWeight IOWriteBandwidthMax IOWriteIOPSMax IPAccounting IPAddressAllow IPAddressDeny IPCNamespacePath
IPEgressFilterPath IPIngressFilterPath IgnoreSIGPIPE ImportCredential InaccessibleDirectories InaccessiblePaths
KeyringMode KillMode KillSignal LimitAS LimitCORE LimitCPU LimitDATA LimitFSIZE LimitLOCKS LimitMEMLOCK
LimitMSGQUEUE LimitNICE LimitNOFILE LimitNPROC LimitRSS LimitRTPRIO LimitRTTIME LimitSIGPENDING LimitSTACK
LoadCredential LoadCredentialEncrypted LockPersonality LogExtraFields LogFilterPatterns LogLevelMax LogNamespace
LogRateLimitBurst LogRateLimitIntervalSec LogsDirectory LogsDirectoryMode ManagedOOMMemoryPressure
ManagedOOMMemoryPressureDurationSec ManagedOOMMemoryPressureLimit ManagedOOMPreference ManagedOOMSwap
MemoryAccounting MemoryDenyWriteExecute MemoryHigh MemoryKSM MemoryLimit MemoryLow MemoryMax MemoryMin
MemoryPressureThresholdSec MemoryPressureWatch MemorySwapMax MemoryTHP MemoryZSwapMax MemoryZSwapWriteback
MountAPIVFS MountFlags MountImagePolicy MountImages NFTSet NUMAMask NUMAPolicy NetClass NetworkNamespacePath Nice
NoExecPaths NoNewPrivileges NonBlocking NotifyAccess OOMPolicy OOMScoreAdjust OpenFile PAMName PIDFile
PassEnvironment PermissionsStartOnly Personality PrivateBPF PrivateDevices PrivateIPC PrivateMounts PrivateNetwork
PrivatePIDs PrivateTmp PrivateUsers ProcSubset ProtectClock ProtectControlGroups ProtectHome ProtectHostname
ProtectKernelLogs ProtectKernelModules ProtectKernelTunables ProtectProc ProtectSystem ReadOnlyDirectories
ReadOnlyPaths ReadWriteDirectories ReadWritePaths RebootArgument RefreshOnReload ReloadSignal RemainAfterExit
RemoveIPC Restart RestartForceExitStatus RestartKillSignal RestartMaxDelaySec RestartMode RestartPreventExitStatus
RestartSec RestartSteps RestrictAddressFamilies RestrictFileSystems RestrictNamespaces RestrictNetworkInterfaces
RestrictRealtime RestrictSUIDSGID RootDirectory RootDirectoryStartOnly RootEphemeral RootHash RootHashSignature
RootImage RootImageOptions RootImagePolicy RootMStack RootVerity RuntimeDirectory RuntimeDirectoryMode
RuntimeDirectoryPreserve RuntimeMaxSec RuntimeRandomizedExtraSec SELinuxContext SecureBits SendSIGHUP SendSIGKILL
SetCredential SetCredentialEncrypted SetLoginEnvironment Slice SmackProcessLabel SocketBindAllow SocketBindDeny
Sockets StandardError StandardInput StandardInputData StandardInputText StandardOutput StartLimitAction
StartLimitBurst StartLimitInterval StartLimitIntervalSec StartupAllowedCPUs StartupAllowedMemoryNodes
StartupBlockIOWeight StartupCPUShares StartupCPUWeight StartupIOWeight StartupMemoryHigh StartupMemoryLow
StartupMemoryMax StartupMemorySwapMax StartupMemoryZSwapMax StateDirectory StateDirectoryMode SuccessAction
SuccessExitStatus SupplementaryGroups SysVStartPriority SyslogFacility SyslogIdentifier SyslogLevel
SyslogLevelPrefix SystemCallArchitectures SystemCallErrorNumber SystemCallFilter SystemCallLog TTYColumns TTYPath
TTYReset TTYRows TTYVHangup TTYVTDisallocate TasksAccounting TasksMax TemporaryFileSystem TimeoutAbortSec
TimeoutCleanSec TimeoutSec TimeoutStartFailureMode TimeoutStartSec TimeoutStopFailureMode TimeoutStopSec
TimerSlackNSec Type UMask USBFunctionDescriptors USBFunctionStrings UnsetEnvironment User UserNamespacePath
UtmpIdentifier UtmpMode WatchdogSec WatchdogSignal WorkingDirectory
";

/// Returns the setting that a key of a unit misspells, if it is neither a setting nor unlike every one. systemd ignores keys
/// that start with `X-` (systemd.unit(5)).
pub(super) fn meant(key: &str) -> Option<&'static str> {
    let names = || NAMES.split_ascii_whitespace();
    let is_known = key.starts_with("X-") || names().any(|name| name == key);
    if is_known { None } else { misspelled(key, names()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_resembles_a_setting_is_misspelled() {
        let misspelled = ["PrivateBpf", "PrivateUser", "BPFDelegateComands", "SytsemCallFilter", "user", "Usr"];
        let meant_by = misspelled.map(|key| meant(key).unwrap_or_default());
        let wanted = ["PrivateBPF", "PrivateUsers", "BPFDelegateCommands", "SystemCallFilter", "User", "User"];
        assert_eq!(meant_by, wanted);
        for key in ["PrivateIPC", "PrivatePIDs", "LimitRSS", "X-PrivateBpf", "X-Own", "A", "NewInSystemd300", ""] {
            assert_eq!(meant(key), None, "{key}");
        }
    }

    #[test]
    fn no_setting_is_taken_for_another() {
        let names: Vec<&str> = NAMES.split_ascii_whitespace().collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(names.iter().all(|name| meant(name).is_none()));
    }
}
