public import Foundation

extension JobConfiguration {
    /// A fingerprint of the model's folder, or of the training file.
    func modelDigest() throws(ClusterError) -> String {
        switch work {
        case .serve(let serving): try Fingerprint.ofModel(serving.model)
        case .train(let training): try Fingerprint.ofFile(training.file)
        }
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
            build: try Fingerprint.ofFile(worker), modelDigest: try job.modelDigest(),
            configDigest: try job.digest())
    }

    /// The folder of the running program.
    public static var ownFolder: URL {
        URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    }
}
