"""The part of the Amazon S3 API that the registry, the api and ordinary clients use; objects are files in /export.

Element and header names: docs.aws.amazon.com/AmazonS3/latest/API/.
"""
