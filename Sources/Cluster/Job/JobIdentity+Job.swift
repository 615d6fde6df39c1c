public import Foundation

extension JobConfiguration {
    /// A fingerprint of the model's folder, or of the training file.
    func modelDigest() throws(ClusterError) -> String {
        try isTraining ? Fingerprint.ofFile(model) : Fingerprint.ofModel(model)
    }
}

extension JobIdentity {
    /// What a process of this job must agree on with the others.
    ///
    /// - Parameter programs: The folder of `apus-worker`, whose bytes are the build's identity.
    public init(
        of job: JobConfiguration, programs: URL = Self.ownFolder
    ) throws(ClusterError) {
        let worker = programs.appending(path: "apus-worker").path(percentEncoded: false)
        self.init(
            build: "\(Self.productVersion)+\(try Fingerprint.ofFile(worker))",
            modelDigest: try job.modelDigest(), configDigest: try job.digest())
    }

    /// The release this source is of.
    public static let productVersion = "0.1.0"

    /// The folder of the running program.
    public static var ownFolder: URL {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }
}
