import Testing
import Topology

@testable import Cluster

@Suite struct KernelOfferTests {
    private static let new = KernelOffer([
        "bfloat16": ["pairs", "fused"], "int8": ["integers"], "int4": ["fused"],
    ])
    private static let old = KernelOffer([
        "bfloat16": ["fused"], "int8": ["integers"], "int4": ["fused"],
    ])
    private static let plain = KernelOffer([
        "bfloat16": ["plain"], "int8": ["integers"], "int4": ["plain"],
    ])

    @Test func `ranks take the best arithmetic that all have`() {
        #expect(KernelOffer.agreed([Self.new, Self.new])["bfloat16"] == "pairs")
        #expect(KernelOffer.agreed([Self.new, Self.old])["bfloat16"] == "fused")
        let turned = KernelOffer.agreed([Self.old, Self.new])
        #expect(turned == KernelOffer.agreed([Self.new, Self.old]))
        #expect(KernelOffer.agreed([]).isEmpty)
    }

    @Test func `of two that all have, the one that is fast on more ranks is taken`() {
        let other = KernelOffer(["bfloat16": ["fused", "pairs"]])
        #expect(KernelOffer.agreed([Self.new, other, other])["bfloat16"] == "fused")
        #expect(KernelOffer.agreed([other, Self.new, Self.new])["bfloat16"] == "pairs")
    }

    @Test func `ranks that have nothing in common are named, with what that means`() {
        let offers = [Self.new, Self.plain, Self.new]
        #expect(KernelOffer.agreed(offers) == ["int8": "integers"])
        let conflicts = KernelOffer.conflicts(offers)
        #expect(conflicts.count == 2)
        let words = conflicts.first ?? ""
        for part in ["bfloat16", "pairs on rank 0, 2", "plain on rank 1", "APUS_CPU"] {
            #expect(words.contains(part), "\(words)")
        }
        #expect(KernelOffer.conflicts([Self.new, Self.old]).isEmpty)
    }

    @Test func `an offer that was agreed on offers that alone`() {
        let limited = Self.new.limited(to: ["bfloat16": "fused", "int4": "plain"])
        #expect(limited.arithmetics["bfloat16"] == ["fused"])
        // What a rank does not have, it cannot offer.
        #expect(limited.arithmetics["int4"] == ["fused"])
        #expect(limited.arithmetics["int8"] == ["integers"])
    }

    @Test func `a rank that comes back hears how the others compute`() {
        var job = MembershipTests.job()
        var hellos = [MembershipTests.hello(0), MembershipTests.hello(1)]
        (hellos[0].kernels, hellos[1].kernels) = (Self.new, Self.old)
        _ = job.apply(.arrived(MembershipTests.id(1), hellos[0]), now: .zero)
        #expect(job.kernels == nil)
        _ = job.apply(.arrived(MembershipTests.id(2), hellos[1]), now: .zero)
        #expect(job.kernels?["bfloat16"] == "fused")
        // The rank that had no more is lost; its place is taken by one that has.
        job.members[1].loss = "gone"
        job.members[1].connection = nil
        hellos[1].kernels = Self.new
        let actions = job.apply(.arrived(MembershipTests.id(3), hellos[1]), now: .seconds(1))
        guard case .welcome(_, _, let welcome)? = actions.first else {
            Issue.record("\(actions)")
            return
        }
        #expect(welcome.kernels?["bfloat16"] == "fused")
    }
}
