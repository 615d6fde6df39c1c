import Collectives
import Foundation
import Models
import Pipeline
import Tensors
import Topology
import Transport

/// Measures steps of a job: bubbles against the simulation, and how much of the all-to-all is
/// hidden. The weights are not changed for good.
struct ProfileRun {
    private let job: TrainingJob
    private let profile: ProfileOptions
    private let observer: TrainingObserver

    /// Steps with real weights and real updates before anything is measured.
    private static let warmUpSteps = 2
    /// Recordings of a step that is done again with sleep.
    private static let recordingCount = 3

    init(_ job: TrainingJob, _ profile: ProfileOptions, _ observer: TrainingObserver) {
        self.job = job
        self.profile = profile
        self.observer = observer
    }

    /// Measures. Collective over the fabric's ranks.
    func run(fabric: any Fabric, experts: (any Fabric)?) throws {
        let options = try job.options()
        try check(options)
        let isFirst = fabric.rank == 0
        let log = isFirst ? try RunLog(job, observer) : nil
        if isFirst { _ = try JobText(job, makes: true) }
        try fabric.barrier(deadline: fabric.deadline(.seconds(600), "tokenizing the text"))
        let text = try JobText(job, makes: false)
        observer.began()
        var results: [ScheduleProfile] = []
        for kind in try kinds() {
            var changed = options
            changed.shape.schedule = kind
            results.append(
                try measure(changed, text, fabric: fabric, experts: experts, log))
        }
        guard isFirst else { return }
        let report = ProfileReport(
            sleeps: profile.sleeps, routesEvenly: profile.routesEvenly, steps: profile.steps,
            schedules: results.map(\.report))
        try report.encoded().write(to: URL(filePath: job.output + "/profile.json"))
        for result in results {
            let name = "profile-\(result.report.schedule.rawValue)"
            try result.middle.write(to: job.output, name: name)
        }
        for line in report.lines { try log?.say(line) }
        try log?.say("written to \(job.output)")
    }

    private func kinds() throws -> [ScheduleKind] {
        guard !profile.against.isEmpty else { return [job.schedule] }
        guard let other = ScheduleKind(rawValue: profile.against) else {
            throw TrainingError.job("--against", fact: "\(profile.against) is no schedule")
        }
        return [job.schedule, other]
    }

    private func check(_ options: TrainingOptions) throws {
        guard profile.steps >= 1 else {
            throw TrainingError.notPositive("--steps", value: profile.steps)
        }
        guard !profile.sleeps || options.threads == 1 else {
            throw TrainingError.job(
                "threads", fact: "is \(options.threads): a profile that sleeps measures one thread")
        }
        for kind in try kinds() {
            var shape = options.shape
            shape.schedule = kind
            try shape.validate(for: options.model)
        }
    }

    private func measure(
        _ options: TrainingOptions, _ text: JobText, fabric: any Fabric, experts: (any Fabric)?,
        _ log: RunLog?
    ) throws -> ScheduleProfile {
        let trainer = try RankTrainer(options, fabric: fabric, experts: experts)
        let data = options.shape.dataRank(of: fabric.rank)
        func batch(_ step: Int) -> [MicroBatch] {
            text.batch(step: step, dataRank: data, options: options)
        }
        for step in 0 ..< Self.warmUpSteps { _ = try trainer.run(batch(step)) }
        trainer.context.routesEvenly = profile.routesEvenly
        let measured = batch(Self.warmUpSteps)
        var replayer: StepReplayer?
        if profile.sleeps {
            let recordings = try (0 ..< Self.recordingCount).map { _ in
                try fabric.barrier(deadline: fabric.deadline(.seconds(120), "a recorded step"))
                _ = trainer.begin(measured)
                let recorder = StepRecorder(trainer.worker, groups: trainer.groups)
                try trainer.perform(recorder, interleaves: true)
                return recorder.finish()
            }
            replayer = StepReplayer(
                .middle(of: recordings), groups: trainer.groups,
                boundary: trainer.worker.boundary)
        }
        func steps(interleaves: Bool) throws -> [MeasuredStep] {
            try (0 ..< profile.steps).map { _ in
                try fabric.barrier(deadline: fabric.deadline(.seconds(120), "a measured step"))
                if replayer == nil { _ = trainer.begin(measured) }
                try trainer.perform(replayer ?? trainer.worker, interleaves: interleaves)
                return try MeasuredStep.gather(trainer, fabric)
            }
        }
        var apart: [MeasuredStep] = []
        if options.shape.sharesExperts {
            apart = try steps(interleaves: false)
            if let replayer, profile.matchesTravel {
                apart = try match(replayer, apart, log) { try steps(interleaves: false) }
            }
        }
        return ScheduleProfile(apart: apart, together: try steps(interleaves: true))
    }
}

extension ProfileRun {
    /// How far from 1:1 a match may stay, and after how many rounds it is what it is.
    private static let matchTolerance = 0.02
    private static let matchRounds = 6

    /// Stretches sleeps until the all-to-all without overlap takes as long as computation.
    ///
    /// One stretch is not enough: a link that rests longer between exchanges carries the next one
    /// sooner.
    ///
    /// - Returns: The steps without overlap at the last stretch.
    private func match(
        _ replayer: StepReplayer, _ apart: [MeasuredStep], _ log: RunLog?,
        steps: () throws -> [MeasuredStep]
    ) throws -> [MeasuredStep] {
        var apart = apart
        for _ in 0 ..< Self.matchRounds {
            // Every rank computes the ratio from all ranks' steps, so all go on or stop together.
            guard let ratio = ScheduleProfile.travelRatio(apart),
                abs(ratio - 1) > Self.matchTolerance
            else { break }
            replayer.scale *= ratio
            try log?.say(
                String(
                    format: "all-to-all without overlap takes %.2f times the computation: sleeps "
                        + "become %.2f times the measured processor time", ratio, replayer.scale))
            apart = try steps()
        }
        return apart
    }
}
