import ArgumentParser
import Cluster
import Foundation
import Topology

/// Changes how many ranks of a job serve.
struct ScaleCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scale",
        abstract: "Changes how many ranks of a running job serve; no text changes.",
        discussion: """
            Down, the highest ranks leave one after the other, as apus drain --rank has them \
            leave: the others read their experts first, and go on with their texts. Up, the lowest \
            ranks that left come back: the launcher of the job starts them, on their hosts; \
            they load, meet the others while these serve, and take their share. More ranks than \
            the job file states (ranks) cannot join. A job of another machine, and one whose ranks \
            Slurm, Kubernetes or a person starts, has no launcher that starts ranks again.

            The job's coordinator is asked, with the secret in the job's folder. Exits with 2 when \
            a rank cannot leave or come back, or is not back in time, and with 3 when no answer \
            came in time, so that it may still, or when others were lost or came back meanwhile. \
            What was done until then stays.

              apus scale tale 2
              apus scale job.yaml 4
              apus scale tale 4 --json
            """)

    /// What `--json` prints.
    private struct Report: Encodable {
        let job: String
        let ranks: Int
        let serving: Int
        let drained: [Int]
        let returned: [Int]
    }

    @Argument(help: "A job's name, folder or file.") var job: String
    @Argument(help: "How many of its ranks are to serve, 1 to all.") var ranks: Int
    @Flag(help: "Print one JSON object: which ranks left and came back.") var json = false

    func run() throws {
        try reporting {
            let folder = try JobSelection.here(self.job)
            let path = folder.url.path(percentEncoded: false)
            let job = try JobConfiguration(
                contentsOf: folder.configuration.path(percentEncoded: false))
            let link = try JobPlacement.link(to: path, coordinator: nil)
            defer { link.close() }
            guard let snapshot = link.snapshot else {
                throw ClusterError.deadline("the job \(job.name) does not say how it is")
            }
            let plan = try ScalePlan(snapshot, to: ranks)
            for rank in plan.leaving {
                try move(rank, "leave", job) { () throws(ClusterError) in
                    // One that left before is away once the others have changed over.
                    try link.waitUntilSettled(limit: job.deadlines.leaving)
                    try link.drain(rank, limit: job.deadlines.leaving)
                }
                say("\(rank) is drained")
            }
            for rank in plan.returning {
                try move(rank, "come back", job) { () throws(ClusterError) in
                    try link.recall(rank, limit: job.deadlines.returning)
                }
                say("\(rank) is back")
            }
            try check(link, job)
            try show(plan, of: job)
        }
    }

    /// Throws if other ranks were lost, or came back, while these left or came back.
    private func check(_ link: ControlLink, _ job: JobConfiguration) throws {
        let serving = link.snapshot?.members.count { $0.loss == nil } ?? 0
        guard serving == ranks else {
            throw ClusterError.deadline(
                "\(serving) of \(job.ranks) ranks serve, not \(ranks): others were lost or came"
                    + " back meanwhile; apus status \(job.name) says which")
        }
    }

    private func move(
        _ rank: Rank, _ words: String, _ job: JobConfiguration,
        _ body: () throws(ClusterError) -> Void
    ) throws {
        do throws(ClusterError) { try body() } catch .deadline(let fact) {
            throw ClusterError.deadline(
                "\(fact): \(rank) may still \(words); apus status \(job.name) says whether it has")
        }
    }

    private func say(_ line: String) {
        if json { StandardStream.error.say("\(line)\n") } else { print(line) }
    }

    private func show(_ plan: ScalePlan, of job: JobConfiguration) throws {
        guard json else {
            return print("\(ranks) of \(job.ranks) ranks of the job \(job.name) serve")
        }
        let report = Report(
            job: job.name, ranks: job.ranks, serving: ranks,
            drained: plan.leaving.map(\.rawValue), returned: plan.returning.map(\.rawValue))
        print(String(decoding: try JSONEncoder.forPeople.encode(report), as: UTF8.self))
    }
}
