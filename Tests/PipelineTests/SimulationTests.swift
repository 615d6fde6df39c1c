import Foundation
import Testing
import Topology

@testable import Pipeline

@Suite struct SimulationTests {
    /// Independent event simulations of the published schedule; `F = W = 1, B = 2, F&B = 3`.
    @Test(arguments: [
        [2, 4, 12, 0, 3], [4, 8, 26, 2, 5], [4, 20, 62, 2, 5], [8, 16, 54, 6, 9],
        [8, 20, 66, 6, 9], [8, 32, 102, 6, 9], [16, 32, 110, 14, 17], [16, 60, 194, 14, 17],
    ])
    func `DualPipe takes the published time, bubble and memory`(golden: [Int]) throws {
        let schedule = try ScheduleKind.dualPipe.schedule(ranks: golden[0], microBatches: golden[1])
        let result = schedule.simulate()
        #expect(result.makespan == Double(golden[2]))
        #expect(result.bubbles == Array(repeating: Double(golden[3]), count: golden[0]))
        #expect(result.peakActivations.max() == golden[4])
        #expect(StepCosts().publishedBubble(.dualPipe, ranks: golden[0]) == Double(golden[3]))
    }

    @Test func `what a pair sends before its weight gradients shortens the step`() throws {
        let schedule = try ScheduleKind.dualPipe.schedule(ranks: 8, microBatches: 20)
        let costs = StepCosts()
        let early = schedule.simulate(communication: 0, lead: { _, _, _ in 1 }) { _, step in
            costs.duration(of: step)
        }
        // 20 forwards and backwards of 3 on every rank; 66 where all leaves at the end of a pair.
        #expect(early.makespan < 66 && early.makespan >= 60)
    }

    @Test(arguments: [1, 2, 4, 8])
    func `DualPipeV over R ranks has the bubble of DualPipe over 2R`(ranks: Int) throws {
        let result = try ScheduleKind.dualPipeV.schedule(ranks: ranks, microBatches: 4 * ranks)
            .simulate()
        #expect(result.bubbles == Array(repeating: Double(2 * (ranks - 1)), count: ranks))
        #expect(result.peakActivations.max()! <= 2 * ranks + 1)
    }

    @Test func `1F1B over 8 ranks and 20 micro-batches takes 81`() throws {
        let result = try ScheduleKind.oneForwardOneBackward.schedule(ranks: 8, microBatches: 20)
            .simulate()
        #expect(result.makespan == 81)
        #expect(result.peakActivations == [8, 7, 6, 5, 4, 3, 2, 1])
    }

    @Test(arguments: [2, 4, 8, 16])
    func `ZB1P has the published bubble at the memory of 1F1B`(ranks: Int) throws {
        let result = try ScheduleKind.zeroBubbleOne.schedule(ranks: ranks, microBatches: 3 * ranks)
            .simulate()
        #expect(result.bubbles.max() == StepCosts().publishedBubble(.zeroBubbleOne, ranks: ranks))
        #expect(result.peakActivations.max() == ranks)
    }

    @Test(arguments: [2, 4, 8])
    func `ZB-V has no bubble but the staggered start, at the memory of 1F1B`(ranks: Int) throws {
        let result = try ScheduleKind.zeroBubbleV.schedule(ranks: ranks, microBatches: 4 * ranks)
            .simulate()
        #expect(result.bubbles.max()! <= Double(ranks - 1))
        #expect(result.peakActivations.max() == 2 * ranks)
    }

    @Test func `away from balance the closed form is not the bubble`() throws {
        let costs = StepCosts(
            forward: 1.13, backwardInput: 1.99 - 0.48, backwardWeight: 0.48, overlapped: 2.8)
        let result = try ScheduleKind.dualPipe.schedule(ranks: 8, microBatches: 20).simulate(costs)
        #expect(abs(costs.publishedBubble(.dualPipe, ranks: 8)! - 10.05) < 1e-9)
        #expect(result.bubbles.max()! < 10)
        let faster = try ScheduleKind.dualPipe.schedule(ranks: 8, microBatches: 20)
            .simulate(StepCosts(overlapped: 2.5))
        #expect(faster.bubbles.min()! == 3.5)
        #expect(faster.bubbles.max()! == 4.5)
    }

    @Test(arguments: ScheduleKind.allCases)
    func `the closed form is given only where it is the bubble`(kind: ScheduleKind) throws {
        let machines = [
            StepCosts(), StepCosts(forward: 2.5, backwardInput: 2.5, backwardWeight: 2.5),
            StepCosts(forward: 2, backwardInput: 1.5, backwardWeight: 0.5),
            StepCosts(forward: 1, backwardInput: 3, backwardWeight: 2),
            StepCosts(overlapped: 2.5), StepCosts(communication: 0.5),
        ]
        for ranks in 1 ... 8 {
            for count in 1 ... 24 {
                guard let plan = try? kind.schedule(ranks: ranks, microBatches: count) else {
                    continue
                }
                for costs in machines {
                    guard let exact = costs.exactBubble(plan) else { continue }
                    let bubble = plan.simulate(costs).bubbles.max()!
                    #expect(abs(bubble - exact) < 1e-9, "\(ranks) ranks, \(count), \(costs)")
                }
            }
        }
    }

    @Test func `transfers and uneven steps have no closed form`() throws {
        let plan = try ScheduleKind.dualPipe.schedule(ranks: 8, microBatches: 20)
        #expect(StepCosts().exactBubble(plan) == 6)
        #expect(StepCosts(communication: 0.5).exactBubble(plan) == nil)
        #expect(StepCosts(overlapped: 2.5).exactBubble(plan) == nil)
        #expect(StepCosts(backwardWeight: 0.5).exactBubble(plan) == nil)
    }

    @Test func `a measured step is one of the plan, or it is said why not`() throws {
        let plan = try ScheduleKind.dualPipe.schedule(ranks: 2, microBatches: 4)
        let run = plan.simulate(StepCosts(communication: 0.5)).timeline
        #expect(run.difference(from: plan) == nil)
        let other = try ScheduleKind.oneForwardOneBackward.schedule(ranks: 2, microBatches: 4)
        #expect(run.difference(from: other)!.hasPrefix("is of another schedule: rank 0 did"))
        let wide = try ScheduleKind.dualPipe.schedule(ranks: 4, microBatches: 8)
        #expect(
            run.difference(from: wide)
                == "is a timeline of 2 ranks: the plan has 4 (--ranks)")
        for factor in [-1, 1e12] {
            let wrong = run.scaled(by: factor, title: "")
            #expect(wrong.difference(from: plan)!.hasSuffix("times rise from 0 and end by 1e9"))
        }
        let stray = Timeline(title: "", rankCount: 1 << 62, entries: run.entries)
        #expect(stray.difference(from: other) != nil)
    }

    @Test func `a transfer delays the next stage by its length`() throws {
        let schedule = try ScheduleKind.forwardOnly.schedule(ranks: 3, microBatches: 2)
        #expect(schedule.simulate(StepCosts(communication: 0.5)).makespan == 5)
    }

    @Test func `pictures hold every step of every rank`() throws {
        let schedule = try ScheduleKind.dualPipe.schedule(ranks: 4, microBatches: 8)
        let timeline = schedule.simulate(StepCosts(communication: 0.5)).timeline
        let text = timeline.text()
        #expect(text.split(separator: "\n").count == 5)
        #expect(text.contains("F6&B0"), "\(text)")
        let svg = Timeline.svg([timeline])
        let boxes = svg.components(separatedBy: "<rect").count
        #expect(boxes > 4 * 8 * 2)
        #expect(svg.contains("viewBox=\"0 0 "))
        #expect(try XMLDocumentCheck.isWellFormed(svg))
        let trace = try Timeline.chromeTrace([timeline, timeline])
        let object = try JSONSerialization.jsonObject(with: trace) as? [String: Any]
        let events = object?["traceEvents"] as? [[String: Any]]
        #expect((events?.count ?? 0) > 2 * 4 * 8)
    }
}

/// Opens and closes tags and sees that they match.
enum XMLDocumentCheck {
    static func isWellFormed(_ text: String) throws -> Bool {
        var open: [Substring] = []
        for match in text.matches(of: /<(\/?)([a-z]+)[^>]*?(\/?)>/) {
            if match.1 == "/" {
                guard open.popLast() == match.2 else { return false }
            } else if match.3 != "/" {
                open.append(match.2)
            }
        }
        return open.isEmpty
    }
}
