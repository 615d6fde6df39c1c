import Foundation
import Testing
import Topology

@testable import Cluster

@Suite struct TopTableTests {
    private static let began = Date(timeIntervalSince1970: 1_000_000)

    private static func report(_ count: Int) -> JobReport {
        var report = JobReport(
            name: "tale", subject: "model", folder: "/tmp/tale", pid: 77, began: began,
            state: "ready")
        report.http = "http://127.0.0.1:8080/v1"
        report.snapshot = JobSnapshot(
            epoch: 3, phase: .ready,
            members: (0 ..< count).map { index in
                var figures = RankStatistics()
                figures.stepsPerSecond = 100
                figures.tokensPerSecond = 250
                figures.promptTokensPerSecond = 10
                figures.allToAllShare = 0.4
                figures.hiddenShare = 0.5
                figures.exposedShare = 0.2
                figures.expertShare = 0.3
                figures.waitShare = 0.1
                figures.cacheShare = 0.12
                figures.runningRequests = 2
                var member = JobSnapshot.Member(
                    rank: Rank(rawValue: index), phase: .ready, node: "node-a", pid: 1,
                    statistics: figures)
                member.loadRatio = index == 1 ? 1.5 : 0.5
                return member
            })
        return report
    }

    private static func lines(
        _ report: JobReport, rows: Int = 100, columns: Int = 120
    ) -> [String] {
        TopTable.lines(
            report, rows: rows, columns: columns, now: began.addingTimeInterval(3_725))
    }

    @Test func `sums are those of the ranks that live, and a step's time adds up`() {
        var report = Self.report(3)
        report.snapshot?.members[2].loss = "its process ended"
        let lines = Self.lines(report)
        #expect(
            lines[0] == "tale, ready for 1:02:05, process 77, http://127.0.0.1:8080/v1")
        #expect(
            lines[1]
                == "2 of 3 ranks, epoch 3: 500.0 tokens/s, 20.0 prompt tokens/s, 4 running,"
                + " 0 waiting, busiest rank 1.50 of the mean")
        #expect(lines.count == 7)
        #expect(lines[4].hasSuffix("  eeeeeeddddddddxxxx.."), "\(lines[4])")
        #expect(lines[4].contains(" 12% ") && lines[4].contains(" 40% "))
        #expect(lines[6].hasSuffix("lost: its process ended"))
        func end(_ text: String, _ line: String) -> Int? {
            line.range(of: text).map { line.distance(from: line.startIndex, to: $0.upperBound) }
        }
        #expect(end("steps/s", lines[3]) == end("100.0", lines[4]))
        #expect(end("tok/s", lines[3]) == end("250.0", lines[4]))
    }

    @Test func `ranks that the screen has no room for are counted`() {
        #expect(Self.lines(Self.report(8), rows: 12).count == 12)
        let lines = Self.lines(Self.report(8), rows: 11)
        #expect(lines.count == 11 && lines.last == "and 2 ranks more")
        #expect(Self.lines(Self.report(1024), rows: 3).last == "and 1024 ranks more")
    }

    @Test(arguments: [true, false])
    func `what other machines say moves no cursor`(isLost: Bool) throws {
        var report = Self.report(1)
        let words = "b\nc\u{9b}31m"
        report.snapshot?.members[0].node = "a\u{1b}[2J"
        report.snapshot?.members[0].loss = isLost ? words : nil
        report.snapshot?.members[0].lastError = isLost ? nil : words
        let snapshot = try #require(report.snapshot)
        var table = JobTable()
        let lines = Self.lines(report) + JobTable.lines(snapshot) + table.changes(snapshot)
        #expect(lines.contains { $0.contains("a\\u{1b}[2J") })
        #expect(lines.count { $0.contains("b\\u{a}c\\u{9b}31m") } == 3)
        for line in lines {
            #expect(!line.unicodeScalars.contains { $0.properties.generalCategory == .control })
        }
    }

    /// Ranks of two nodes; each sends to every other.
    private static func traffic(_ count: Int) -> JobReport {
        var report = report(count)
        for index in 0 ..< count {
            let node = index < count / 2 ? "node-a" : "node-b"
            report.snapshot?.members[index].node = node
            var figures = RankStatistics()
            figures.sentInsidePerSecond = 1_500_000
            figures.sentAcrossPerSecond = 12_340_000
            figures.busiestReceiver = Rank(rawValue: (index + 1) % count)
            if count <= RankStatistics.matrixRanks {
                figures.sentPerSecond = (0 ..< count).map { $0 == index ? 0 : 1_000_000 * $0 }
            }
            report.snapshot?.members[index].statistics = figures
        }
        return report
    }

    @Test func `who sends how much to whom is a matrix where that fits`() throws {
        let lines = Self.lines(Self.traffic(4), columns: 80)
        #expect(lines.count == 14 && lines[8].hasPrefix("MB/s") && lines[8].contains("row's rank"))
        func words(_ line: String) -> [String] {
            line.split(separator: " ").map(String.init)
        }
        #expect(words(lines[10]) == ["0", "node-a", "-", "1.00", "2.00*", "3.00*", "1.00", "5.00"])
        #expect(words(lines[13]) == ["3", "node-b", "0", "1.00*", "2.00", "-", "2.00", "1.00"])
        #expect(lines[9...].allSatisfy { $0.count == 74 })
        // One column less, and a line per rank has its sums.
        let narrow = Self.lines(Self.traffic(4), columns: 73)
        #expect(narrow.count == 14)
        #expect(words(narrow[9]) == ["rank", "node", "inside", "across", "most", "to"])
        #expect(words(narrow[13]) == ["3", "node-b", "1.50", "12.3", "0"])
    }

    @Test func `traffic gives way to ranks, and many ranks have sums`() {
        let many = Self.lines(Self.traffic(20), rows: 30, columns: 1000)
        #expect(many.count == 30 && many[24].contains("inside its node"))
        #expect(many.last == "and 17 ranks more that send")
        #expect(Self.lines(Self.traffic(20), rows: 27, columns: 1000).count == 24)
        #expect(Self.lines(Self.traffic(4), rows: 8).count == 8)
        // What a rank says of others may be anything.
        var report = Self.traffic(4)
        report.snapshot?.members[1].statistics?.sentPerSecond = [.max, .min, -1, 5, 6, 7]
        report.snapshot?.members[2].statistics?.sentInsidePerSecond = .max
        report.snapshot?.members[2].statistics?.sentAcrossPerSecond = .max
        report.snapshot?.members[3].statistics?.sentPerSecond = [1]
        #expect(Self.lines(report).count == 14)
    }

    @Test func `figures that are no numbers, and a job that says nothing, are drawn`() {
        var report = Self.report(1)
        report.snapshot?.members[0].statistics?.stepsPerSecond = .infinity
        report.snapshot?.members[0].statistics?.expertShare = .nan
        #expect(Self.lines(report).count == 5)
        report.snapshot?.members[0].statistics?.runningRequests = .max
        report.snapshot?.members.append(contentsOf: Self.report(1).snapshot?.members ?? [])
        #expect(Self.lines(report)[1].contains(" - running, 0 waiting"))
        report.snapshot = nil
        report.error = "the job did not answer"
        #expect(Self.lines(report).last == "the job did not answer")
    }
}
