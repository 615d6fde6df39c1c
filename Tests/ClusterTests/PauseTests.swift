import Logging
import NIOCore
import NIOEmbedded
import Testing
import Topology

@testable import Cluster

/// Coordinators that did not run for a while, and ranks that stand still.
@Suite struct PauseTests {
    private typealias Story = LossTests.Story

    @Test func `silence after a pause counts from when a rank was heard of, and not later`() {
        var story = Story(ranks: 3)
        story.apply(.tick)
        // What came during the pause is read before the first tick.
        story.beat([0, 1, 2], after: .seconds(60))
        #expect(story.apply(.tick).isEmpty)
        for _ in 0 ..< 4 {
            story.beat([0, 2], after: .seconds(1))
            story.apply(.tick)
        }
        #expect(story.job.living == [0, 2])
    }

    @Test func `a suspect is not silent by a pause of the coordinator`() {
        var story = Story(ranks: 3)
        story.beat([0, 1, 2])
        story.apply(.tick)
        let report = Membership.Event.suspected(Story.id(0), rank: 1, epoch: 1, reason: "no answer")
        #expect(story.apply(report, after: .seconds(20)).isEmpty)
        #expect(story.job.living == [0, 1, 2])
        // It has its time from now on, and no more than that.
        story.beat([0, 2], after: .milliseconds(250))
        story.apply(.tick)
        #expect(story.job.living == [0, 2])
    }

    @Test func `a pause during a take-over is nobody's time`() {
        var story = TakeOverTests.story(ranks: 3)
        let held = TakeOverTests.held(1, [0, 1, 2])
        story.apply(TakeOverTests.back(0, held))
        story.apply(.tick)
        let later = story.now + .seconds(40)
        #expect(story.job.absence(later) == .seconds(40))
        // A rank that left shows that it was given up; one that comes for the first time does not.
        #expect(story.job.isForsaken(.closed(Story.id(0), reason: "closed")))
        #expect(story.job.isForsaken(TakeOverTests.back(0, held)))
        #expect(!story.job.isForsaken(TakeOverTests.back(1, held)))
        #expect(story.apply(TakeOverTests.back(1, held), after: .seconds(40)).count == 1)
        #expect(story.job.snapshot(now: story.now).awaited == [2])
        #expect(story.apply(.tick).isEmpty)
        #expect(story.apply(TakeOverTests.back(2, held)).last == .tookOver(recovering: []))
    }

    @Test func `a pause is not the time in which ranks are to meet for an epoch`() {
        var story = Story(ranks: 3)
        story.apply(.closed(Story.id(1), reason: "closed"))
        story.apply(.recovered(Story.id(0), epoch: 2))
        story.apply(.recovered(Story.id(2), epoch: 2))
        story.arrive(1, as: 9)
        story.apply(.entered(Story.id(9), .ready))
        story.apply(.tick)
        #expect(story.apply(.tick, after: .seconds(600)).isEmpty)
        #expect(story.job.candidate?.returning == [1])
    }

    @Test(arguments: [Phase.connect, .load, .warmUp])
    func `a rank that comes back and hangs on its way is given up`(phase: Phase) {
        var story = Story(ranks: 3)
        story.apply(.closed(Story.id(1), reason: "closed"))
        story.apply(.recovered(Story.id(0), epoch: 2))
        story.apply(.recovered(Story.id(2), epoch: 2))
        story.arrive(1, as: 9)
        if phase > .connect { story.apply(.entered(Story.id(9), phase)) }
        for _ in 0 ..< 25 {
            story.beat([0, 2, 9], after: .seconds(1))
            #expect(story.apply(.tick).isEmpty)
        }
        // Its heart beats on.
        story.beat([0, 2, 9], after: .seconds(1))
        story.apply(.tick)
        #expect(
            story.dismissed[Story.id(9)]?.description
                == "rank 1 was lost in phase \(phase), epoch 2: it came back and stayed in phase"
                + " \(phase) for more than 25 s (deadlines.connectSeconds and loadSeconds): end its"
                + " process, or raise the limit")
        #expect(story.job.living == [0, 2] && story.job.epoch == 2)
        // Of its process nothing is heard any more, which tells the launcher to end it.
        #expect(story.job.connection(of: 1) == nil)
    }

    /// Notes the epochs that a rank is told; it may be gone when the first is written.
    private final class Epochs: ChannelOutboundHandler {
        typealias OutboundIn = ControlFrame
        var numbers: [UInt64] = []
        var isGone = false

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            guard case .epoch(let epoch) = unwrapOutboundIn(data) else { return }
            numbers.append(epoch.number)
            if isGone { context.close(promise: nil) }
        }
    }

    @Test func `a connection that fails while epochs are sent does not put them out of order`()
        throws
    {
        var membership = Membership.Configuration(
            rankCount: 4, identity: MembershipTests.identity, deadlines: [:],
            silenceLimit: .seconds(60))
        membership.survivesLosses = true
        let core = CoordinatorCore(
            membership: membership, token: .random(), handlers: .init(),
            log: Logger(label: "test"))
        let told = (0 ..< 4).map { _ in Epochs() }
        let channels = try told.map { epochs in
            let channel = EmbeddedChannel()
            try channel.pipeline.syncOperations.addHandlers([
                epochs, ConnectionHandler(core: core, role: .worker),
            ])
            return channel
        }
        for (rank, channel) in channels.enumerated() {
            try channel.writeInbound(
                ControlFrame.hello(MembershipTests.hello(Rank(rawValue: rank))))
        }
        for channel in channels { try channel.writeInbound(ControlFrame.entered(.ready)) }
        #expect(told.allSatisfy { $0.numbers == [1] })
        told[1].isGone = true
        channels[0].close(promise: nil)
        #expect(told[2].numbers == [1, 2, 3])
        #expect(told[3].numbers == [1, 2, 3])
    }
}
