"""The part of Amazon's S3 API that the registry, the api and ordinary clients use; objects are files below /export.

Element and header names: docs.aws.amazon.com/AmazonS3/latest/API/.
"""
