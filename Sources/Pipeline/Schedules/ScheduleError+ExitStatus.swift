public import Topology

extension ScheduleError: ProgramError {
    /// Bad input: the user chose the schedule and its counts.
    public var exitStatus: ExitStatus { .badInput }
}
