CREATE EXTENSION stonescriptdb;
